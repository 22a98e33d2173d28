"""``onebaton init``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def init(
    *,
    path: Annotated[Path, typer.Argument(help="The file to write.")] = o.DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    platform: Annotated[
        Literal["podman", "aws"], typer.Option("--platform", help="Where nodes run.")
    ] = "podman",
    name: Annotated[str, typer.Option("--name", help="The zone's name.")] = "lab",
    version: Annotated[
        str, typer.Option("--version", help="OpenNebula version to bake.")
    ] = "6.10.5",
    repository: Annotated[
        str | None,
        typer.Option(
            "--repository",
            help="Web address or local folder of the packages; by default the vendor's.",
        ),
    ] = None,
    pipeline: Annotated[
        Literal["github", "gitlab"] | None,
        typer.Option(
            "--pipeline",
            help="Write the workflows that plan, roll out and look after this cluster. A "
            "cluster.yaml that is there is left as it is; --force is about the workflows then.",
        ),
    ] = None,
) -> None:
    """Write a cluster.yaml with every option, its default and what it is for."""
    from onebaton.adapters import pipelines
    from onebaton.adapters.startfile import Choices, write
    from onebaton.ui.output import show_line

    if pipeline is None or not path.exists():
        write(path, Choices(platform, name, version, repository), force=force)
        show_line(f"wrote {path}; its comments name the files to put beside it")
        show_line(f"then: onebaton config check --config {path}")
    if pipeline is None:
        return
    made = pipelines.write(pipeline, path, force=force)
    for written in made.written:
        show_line(f"wrote {written}")
    if not made.written:
        show_line("the workflows are there already, as they would be written")
    show_line("")
    show_line("What they need from you:")
    for number, need in enumerate(made.needs, start=1):
        show_line(f"{number:2}. {need}")
