"""``onebaton bootstrap``."""

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def bootstrap(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    version: o.Version = None,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Found a new zone of the configured size from an image."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(
        config, plain=plain, verbose=verbose, state=state, version=version, break_lock=break_lock
    ) as options:
        report = wiring.bootstrap(options)
    show(report, as_json=json)
