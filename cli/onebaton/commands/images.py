"""``onebaton images``."""

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def images(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """List the images that were baked, oldest first."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(config, plain=plain, verbose=verbose, state=state) as options:
        catalogue = wiring.images(options)
    show(catalogue, as_json=json)
