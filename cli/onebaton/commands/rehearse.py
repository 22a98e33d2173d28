"""``onebaton rehearse``."""

from typing import Annotated

import typer

from onebaton.commands import options as o
from onebaton.errors import RefusedError

app = o.new_app()


@app.command()
def rehearse(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    version: o.Version = None,
    accept_loss: o.AcceptLoss = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the node with its warm database.")
    ] = False,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Try a change of the database schema on a copy, on one new node; the zone is only read.

    The status is 4 if tables lose rows that were not accepted by name."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(
        config,
        plain=plain,
        verbose=verbose,
        state=state,
        version=version,
        break_lock=break_lock,
        accept_loss=accept_loss,
    ) as options:
        view = wiring.rehearse(options, keep=keep)
    show(view, as_json=json)
    if view.refusals:
        raise RefusedError(
            f"the rehearsal of OpenNebula {view.version} found what stops a cut-over",
            details=view.refusals,
            resolution="Put in order what is listed, then rehearse again. Production was not "
            "touched.",
        )
