"""``onebaton drift``."""

import typer

from onebaton.commands import options as o
from onebaton.errors import Status

app = o.new_app()


@app.command()
def drift(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    version: o.Version = None,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Tell what is not as the configuration says; change nothing.

    Servers, nodes, images, Terraform's records, configuration files, versions, the virtual IP:
    each with what was expected, what was found, and the way back. The status is 3 if there is
    any drift, or if something could not be told; 0 if there is none.
    """
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(config, plain=plain, verbose=verbose, state=state, version=version) as options:
        view = wiring.drift(options)
    show(view, as_json=json)
    raise typer.Exit(Status.CHANGES_PENDING if view.rows else Status.OK)
