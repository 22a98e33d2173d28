"""``onebaton rehearse``."""

from typing import Annotated, Literal

import typer

from onebaton.commands import options as o
from onebaton.errors import RefusedError, UsageError

app = o.new_app()


@app.command()
def rehearse(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[CLONE]", help="With --in clone: which one, if there are more."),
    ] = None,
    *,
    inside: Annotated[
        Literal["clone"] | None,
        typer.Option(
            "--in",
            help="clone: the whole rollout, in a clone; without any, in one made for it.",
        ),
    ] = None,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    version: o.Version = None,
    accept_loss: o.AcceptLoss = None,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave the node, or a clone made for it."),
    ] = False,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Try a change of the database schema on a copy, on one new node; the zone is only read.

    With --in clone the whole rollout is carried out, in a clone; what it took becomes the forecast
    of production's plan. The status is 4 if tables lose rows that were not accepted by name."""
    from onebaton import wiring
    from onebaton.ui.output import show

    if name is not None and inside is None:
        raise UsageError(
            "a clone's name stands beside --in clone",
            resolution=f"onebaton rehearse --in clone {name}",
        )
    with o.opened(
        config,
        clone=clone,
        plain=plain,
        verbose=verbose,
        state=state,
        version=version,
        break_lock=break_lock,
        accept_loss=accept_loss,
    ) as options:
        if inside is None:
            view = wiring.rehearse(options, keep=keep)
        else:
            view = wiring.rehearse_in_clone(options, name, keep=keep)
    show(view, as_json=json)
    if view.refusals:
        raise RefusedError(
            f"the rehearsal of OpenNebula {view.version} found what stops a cut-over",
            details=view.refusals,
            resolution="Put in order what is listed, then rehearse again. Production was not "
            "touched.",
        )
