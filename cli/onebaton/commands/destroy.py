"""``onebaton destroy``."""

from typing import Annotated

import typer

from onebaton.commands import options as o

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
        o.confirm(
            f"destroy {', '.join(names)} and all that is on them", otherwise="nothing was destroyed"
        )
    with o.opened(
        config, plain=plain, verbose=verbose, state=state, break_lock=break_lock
    ) as options:
        destroyed = wiring.destroy(options)
    show_line(f"destroyed {', '.join(destroyed)}")
