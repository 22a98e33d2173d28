"""``onebaton continue``."""  # noqa: N999 - a command's module has its word for its name

import getpass
import socket
from typing import Annotated

import typer

from onebaton.commands import options as o
from onebaton.errors import Status

app = o.new_app()


@app.command("continue")
def go_on(
    *,
    by: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Who approves; by default user@machine."),
    ] = None,
    config: o.Config = o.DEFAULT_CONFIG,
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
    """Approve the stage that a rollout waits before, and go on with the rollout.

    The approval holds for the steps that were left when it stopped, and for no others."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(
        config,
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
        report = wiring.go_on(options, by or f"{getpass.getuser()}@{socket.gethostname()}")
    show(report, as_json=json)
    raise typer.Exit(Status.CHANGES_PENDING if report.ending == "waiting" else Status.OK)
