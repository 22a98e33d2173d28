"""``onebaton finalize``."""

from typing import Annotated

import typer

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def finalize(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Give up the generation that the last cut-over left, and destroy its nodes.

    There is no rollback after it."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(config, clone=clone, plain=plain, verbose=verbose, state=state) as options:
        view = wiring.finalize_preview(options)
        for line in view.stay:
            options.reporter.note(line)
    if not yes and not view.nothing:
        nodes = f"destroy {', '.join(view.destroys)}" if view.destroys else "destroy no node"
        o.confirm(f"{nodes}, and give up the way back", otherwise="nothing was given up")
    with o.opened(
        config, clone=clone, plain=plain, verbose=verbose, state=state, break_lock=break_lock
    ) as options:
        report = wiring.finalize(options)
    show(report, as_json=json)
