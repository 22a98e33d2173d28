"""``onebaton clone``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from onebaton.commands import options as o
from onebaton.errors import UsageError

if TYPE_CHECKING:
    from onebaton.wiring import CloneWish


class _Group(TyperGroup):
    """``onebaton clone NAME`` makes one: whatever is no command of its own is a name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - another class in each release of typer
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = o.new_app(_Group)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The clone's name.")]
Size = Annotated[int | None, typer.Option("--size", help="Servers, not `clones.size`.")]
Ttl = Annotated[
    str | None,
    typer.Option("--ttl", metavar="TIME", help="E.g. 90m, 12h, 3d, 1w; not `clones.ttl`."),
]
Dump = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DUMP",
        help="A dump of the database (plain, .gz, .zst), a file or s3://BUCKET/KEY, instead of "
        "the living zone.",
    ),
]
COMMANDS = ("create", "list", "check", "refresh", "destroy")


@app.callback()
def clone() -> None:
    """Fenced copies of the zone, to try things on.

    They hold no secret of production, list none of its servers and reach none of its machines;
    all of that is proved before their first start.
    """


@app.command()
def create(
    name: Name,
    *,
    size: Size = None,
    ttl: Ttl = None,
    dump: Dump = None,
    config: o.Config = o.DEFAULT_CONFIG,
    version: o.Version = None,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Make a clone; production is only read, from a follower, without locks.

    The image is of the version that production runs, unless --version names another. Run again,
    it goes on with what was begun.
    """
    from onebaton import wiring
    from onebaton.ui.output import show

    wish = _wish(name, size, ttl, dump)
    with o.opened(
        config, plain=plain, verbose=verbose, state=state, version=version, break_lock=break_lock
    ) as options:
        view = wiring.create_clone(options, wish)
    show(view, as_json=json)


@app.command()
def refresh(
    name: Name,
    *,
    size: Size = None,
    ttl: Ttl = None,
    dump: Dump = None,
    config: o.Config = o.DEFAULT_CONFIG,
    version: o.Version = None,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Make a clone anew, of the zone as it is now, with a password of its own again."""
    from onebaton import wiring
    from onebaton.ui.output import show

    wish = _wish(name, size, ttl, dump)
    with o.opened(
        config, plain=plain, verbose=verbose, state=state, version=version, break_lock=break_lock
    ) as options:
        view = wiring.refresh_clone(options, wish)
    show(view, as_json=json)


@app.command("list")
def list_clones(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """List the zone's clones: what they are of, and until when."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(config, plain=plain, verbose=verbose, state=state) as options:
        view = wiring.list_clones(options)
    show(view, as_json=json)


@app.command()
def check(
    name: Name,
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Prove again that a clone holds nothing of production and reaches nobody there.

    The status is 4 if it does.
    """
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(config, plain=plain, verbose=verbose, state=state) as options:
        view = wiring.check_clone(options, name)
    show(view, as_json=json)


@app.command()
def destroy(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The clone's name.")] = None,
    *,
    expired: Annotated[
        bool, typer.Option("--expired", help="All that are past their time, without asking.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: o.Config = o.DEFAULT_CONFIG,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
) -> None:
    """Take a clone away: its machines, network, state and secrets."""
    from onebaton import wiring
    from onebaton.ui.output import show_line

    if (name is None) != expired:
        raise UsageError(
            "give either the name of a clone or --expired",
            resolution="See which there are: onebaton clone list",
        )
    with o.opened(
        config, plain=plain, verbose=verbose, state=state, break_lock=break_lock
    ) as options:
        names = (name,) if name is not None else wiring.expired_clones(options)
        if name is not None and not yes:
            o.confirm(f"destroy the clone {name}", otherwise="nothing was destroyed")
        for one in names:
            wiring.destroy_clone(options, one)
    show_line(f"destroyed {', '.join(names)}" if names else "no clone is past its time")


def _wish(name: str, size: int | None, ttl: str | None, dump: str | None) -> "CloneWish":
    from onebaton.fields import duration_s
    from onebaton.wiring import CloneWish

    o.require_name("NAME", name)
    if name in COMMANDS:
        raise UsageError(
            f"no clone can be called {name}: that is a command", resolution="Give another name."
        )
    if size is not None and size not in (1, 3, 5, 7, 9):
        raise UsageError("--size: a zone has 1, 3, 5, 7 or 9 servers", resolution="Give another.")
    try:
        duration_s(ttl or "1d")
    except ValueError as error:
        raise UsageError(f"--ttl: {error}", resolution="Give another.") from None
    return CloneWish(name, size, ttl, dump)
