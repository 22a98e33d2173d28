"""``onebaton status``."""

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def status(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Show the zone, its servers and their nodes, as they are now."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(config, clone=clone, plain=plain, verbose=verbose, state=state) as options:
        view = wiring.status(options)
    show(view, as_json=json)
