"""``onebaton destroy``."""

import sys
from typing import Annotated

import typer

from onebaton.commands import options as o
from onebaton.errors import InterruptedRunError, UsageError

app = o.new_app()


@app.command()
def destroy(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
) -> None:
    """Destroy all nodes of the cluster, and the zone with them."""
    from onebaton import wiring
    from onebaton.ui.output import show_line

    with o.opened(config, plain=plain, verbose=verbose, state=state) as options:
        names = wiring.destroy_preview(options)
    if not names:
        show_line("there is nothing to destroy")
        return
    if not yes:
        _confirm(names)
    with o.opened(
        config, plain=plain, verbose=verbose, state=state, break_lock=break_lock
    ) as options:
        destroyed = wiring.destroy(options)
    show_line(f"destroyed {', '.join(destroyed)}")


def _confirm(names: tuple[str, ...]) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            f"this would destroy {', '.join(names)}, and nobody is here to ask",
            resolution="Run it again with --yes.",
        )
    try:
        is_sure = typer.confirm(f"Destroy {', '.join(names)} and all that is on them?")
    except typer.Abort:
        typer.echo()
        is_sure = False
    if not is_sure:
        raise InterruptedRunError("nothing was destroyed")
