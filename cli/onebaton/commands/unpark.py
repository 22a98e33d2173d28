"""``onebaton unpark``."""

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def unpark(
    node: o.Node,
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Bring a parked server back into service, level before it starts.

    It is seeded anew if the leader does not hold all the records any more that it lacks."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(
        config,
        clone=clone,
        plain=plain,
        verbose=verbose,
        state=state,
        break_lock=break_lock,
        node=node,
    ) as options:
        report = wiring.unpark(options, node)
    show(report, as_json=json)
