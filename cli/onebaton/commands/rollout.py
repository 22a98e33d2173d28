"""``onebaton rollout``."""

import typer

from onebaton.commands import options as o
from onebaton.errors import Status

app = o.new_app()


@app.command()
def rollout(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    version: o.Version = None,
    cut: o.Cut = None,
    accept_loss: o.AcceptLoss = None,
    plan: o.PlanFile = None,
    until: o.Until = None,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Bring the zone onto the configured image, step by step.

    Where the database schema changes, the zone is cut over as a rehearsal proved it, and the old
    generation is kept until `onebaton finalize`. It can be stopped with ^C and killed at any
    moment: run it again, and it goes on. The status is 3 if it waits for `onebaton continue`."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(
        config,
        clone=clone,
        plain=plain,
        verbose=verbose,
        state=state,
        version=version,
        break_lock=break_lock,
        cut=cut,
        accept_loss=accept_loss,
        plan=plan,
        until=until,
    ) as options:
        report = wiring.rollout(options)
    show(report, as_json=json)
    raise typer.Exit(Status.CHANGES_PENDING if report.ending == "waiting" else Status.OK)
