"""``onebaton replace``."""

from typing import Annotated

import typer

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def replace(
    node: o.Node,
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
    """Replace a failed or suspect node by a new one from the same image.

    Its server leaves the zone, stopped and masked first; if its machine does not answer, the
    machine is destroyed before. A leader hands over. It can be stopped and killed at any moment:
    run it again, and it goes on."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(
        config,
        clone=clone,
        plain=plain,
        verbose=verbose,
        state=state,
        node=node,
    ) as options:
        steps = wiring.replace_preview(options, node)
        for step in steps:
            options.reporter.note(f"to be done: {step}")
    if not yes and steps:
        o.confirm(
            f"replace {node}, and destroy its machine with all that is on it",
            otherwise="nothing was replaced",
        )
    with o.opened(
        config,
        clone=clone,
        plain=plain,
        verbose=verbose,
        state=state,
        break_lock=break_lock,
        node=node,
    ) as options:
        report = wiring.replace(options, node)
    show(report, as_json=json)
