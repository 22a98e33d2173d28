"""``onebaton plan``."""

import typer

from onebaton.commands import options as o
from onebaton.errors import Status

app = o.new_app()


@app.command()
def plan(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    version: o.Version = None,
    cut: o.Cut = None,
    accept_loss: o.AcceptLoss = None,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Show what a rollout would do now, and why; change nothing.

    The status is 3 if there is something to do, 0 if not.
    """
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(
        config,
        clone=clone,
        plain=plain,
        verbose=verbose,
        state=state,
        version=version,
        cut=cut,
        accept_loss=accept_loss,
    ) as options:
        view = wiring.plan(options)
    show(view, as_json=json)
    raise typer.Exit(Status.CHANGES_PENDING if view.steps else Status.OK)
