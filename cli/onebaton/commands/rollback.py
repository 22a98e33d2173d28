"""``onebaton rollback``."""

from typing import Annotated

import typer

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def rollback(
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
    """Take the last cut-over back: the old generation serves again.

    What was written since the cut is listed, and lost. It can be stopped and killed at any
    moment: run it again, and it goes on."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(config, clone=clone, plain=plain, verbose=verbose, state=state) as options:
        view = wiring.rollback_preview(options)
        for line in view.lost:
            options.reporter.note(line)
    if not yes:
        o.confirm(
            f"stop {', '.join(view.stops)} and bring {', '.join(view.brings_back)} back",
            otherwise="nothing was taken back",
        )
    with o.opened(
        config, clone=clone, plain=plain, verbose=verbose, state=state, break_lock=break_lock
    ) as options:
        report = wiring.rollback(options)
    show(report, as_json=json)
