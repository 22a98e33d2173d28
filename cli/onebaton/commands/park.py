"""``onebaton park``."""

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def park(
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
    """Take a follower out of service: stopped and masked, still listed under its id.

    `status`, `doctor` and `plan` say so, and no rollout is begun, until `onebaton unpark`. It is
    refused for the leader, and where the other servers would not have a majority."""
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
        report = wiring.park(options, node)
    show(report, as_json=json)
