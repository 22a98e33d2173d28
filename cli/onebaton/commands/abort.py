"""``onebaton abort``."""

from typing import Annotated

import typer

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def abort(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    version: o.Version = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Give a half-done rollout up: back to the generation that it began with.

    The new servers leave the zone one at a time, and their nodes are destroyed. It is refused
    once the old generation could not carry the zone any more, with what to run instead. A swap
    goes back by a swap, as long as a machine of the image that it began with is there. It can
    be stopped and killed at any moment: run it again, and it goes on."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(
        config,
        clone=clone,
        plain=plain,
        verbose=verbose,
        state=state,
        version=version,
    ) as options:
        view = wiring.abort_preview(options)
    if not yes and view.swaps:
        o.confirm(
            f"make {', '.join(view.swaps)} anew from the image they had, one at a time",
            otherwise="nothing was given up",
        )
    elif not yes and view.destroys:
        out = f"take {', '.join(view.retires)} out of the zone and " if view.retires else ""
        o.confirm(f"{out}destroy {', '.join(view.destroys)}", otherwise="nothing was given up")
    with o.opened(
        config,
        clone=clone,
        plain=plain,
        verbose=verbose,
        state=state,
        version=version,
        break_lock=break_lock,
    ) as options:
        report = wiring.abort(options)
    show(report, as_json=json)
