"""Options that several commands share, and what they are turned into."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer.core import TyperGroup

from onebaton.errors import InterruptedRunError, UsageError

if TYPE_CHECKING:
    from onebaton.config import Stage
    from onebaton.wiring import Options

Config = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="ONEBATON_CONFIG", help="The cluster's description."),
]
State = Annotated[
    str | None,
    typer.Option("--state", help="Folder or s3://BUCKET/PREFIX, not `state`."),
]
Version = Annotated[
    str | None,
    typer.Option(
        "--version", envvar="ONEBATON_VERSION", help="OpenNebula version, not `image.version`."
    ),
]
Plain = Annotated[
    bool | None,
    typer.Option(
        "--plain/--no-plain",
        help="Log lines, or a live line; by default a live line on a terminal only.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Keep every line of progress.")]
BreakLock = Annotated[
    bool,
    typer.Option("--break-lock", help="Take the lock from another run that is surely dead."),
]
Node = Annotated[str, typer.Argument(metavar="NODE", help="Name of a node, as in `status`.")]
Clone = Annotated[
    str | None,
    typer.Option("--clone", metavar="NAME", help="This clone of the zone, and not the zone."),
]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", help="Carry out exactly this plan, of `onebaton plan --out`."),
]
Cut = Annotated[
    Literal["auto", "stand-by", "plain"] | None,
    typer.Option(
        "--cut", help="How a change of the database schema is carried out, not `rollout.cut`."
    ),
]
Until = Annotated[
    Literal["provisioned", "prepared", "held", "cut", "joined", "handed-over", "retired"] | None,
    typer.Option("--until", metavar="STAGE", help="Stop after this stage, with status 0."),
]
AcceptLoss = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-loss",
        metavar="TABLE",
        help="A table that may lose rows in a change of the schema; give it once for each.",
    ),
]

DEFAULT_CONFIG = Path("cluster.yaml")


def new_app(group: type[TyperGroup] | None = None) -> typer.Typer:
    """An app for one command.

    :param group: how the words of one with commands of its own are read, if not as usual.

    Without rich, which is slow to import; without typer's tracebacks, which show the values
    of variables.
    """
    return typer.Typer(
        cls=group,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
    )


@contextmanager
def opened(
    config: Path,
    *,
    plain: bool | None,
    verbose: bool,
    state: str | None,
    version: str | None = None,
    break_lock: bool = False,
    cut: Literal["auto", "stand-by", "plain"] | None = None,
    accept_loss: Sequence[str] | None = None,
    node: str | None = None,
    clone: str | None = None,
    plan: Path | None = None,
    until: "Stage | None" = None,
) -> Iterator["Options"]:
    """What a use case is given, while its reporter is open."""
    from onebaton.ui.console import open_reporter
    from onebaton.wiring import Options

    with open_reporter(plain=plain, verbose=verbose) as reporter:
        yield Options(
            config=config,
            reporter=reporter,
            version=version,
            state=state,
            break_lock=break_lock,
            cut=cut,
            accepted=tuple(accept_loss or ()),
            node=node,
            clone=clone,
            plan=plan,
            until=until,
        )


def require_name(option: str, text: str) -> None:
    """See that a text may be the name of something of ours.

    :raises UsageError: if not.
    """
    from onebaton.fields import name_problem

    problem = name_problem(text)
    if problem is not None:
        raise UsageError(f"{option}: {problem}", resolution="Give another name.")


def confirm(what: str, *, otherwise: str) -> None:
    """Ask whether it shall be done.

    :param what: what would be done, in words that go on from "this would".
    :param otherwise: what is said if not.
    :raises UsageError: if nobody is here to ask.
    :raises InterruptedRunError: if the answer is no.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            f"this would {what}, and nobody is here to ask", resolution="Run it again with --yes."
        )
    try:
        is_sure = typer.confirm(f"{what[0].upper()}{what[1:]}?", err=True)
    except typer.Abort:
        typer.echo(err=True)
        is_sure = False
    if not is_sure:
        raise InterruptedRunError(otherwise)
