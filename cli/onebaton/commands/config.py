"""``onebaton config check`` and ``onebaton config schema``."""

from typing import Annotated

import typer

from onebaton.commands import options as o

app = o.new_app()


@app.callback()
def config() -> None:
    """Check a cluster.yaml, or print its JSON Schema."""


@app.command()
def check(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    state: o.State = None,
    version: o.Version = None,
    without_files: Annotated[
        bool,
        typer.Option(
            "--without-files", help="Do not look for the files it names: they are elsewhere."
        ),
    ] = False,
) -> None:
    """Check a whole file; list every mistake with its line."""
    from onebaton.adapters.configfile import load
    from onebaton.ui.output import show_line

    cluster = load(config, version=version, state=state, files=not without_files)
    zone, image = cluster.zone, cluster.image
    show_line(f"ok: {config}")
    show_line(f"ok: zone {zone.name} of {zone.size}, virtual IP {zone.vip.address}")
    show_line(f"ok: OpenNebula {image.version} on {cluster.platform.kind}")


@app.command()
def schema() -> None:
    """Print the file's JSON Schema, for editors."""
    from onebaton.adapters.configfile import schema
    from onebaton.ui.output import show_json

    show_json(schema())
