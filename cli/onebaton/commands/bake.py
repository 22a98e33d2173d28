"""``onebaton bake``."""

from typing import Annotated

import typer

from onebaton.commands import options as o

app = o.new_app()


@app.command()
def bake(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    version: o.Version = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even if the same recipe was baked before.")
    ] = False,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
) -> None:
    """Bake an image of a front-end, boot it once and test it."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(
        config, plain=plain, verbose=verbose, state=state, version=version, break_lock=break_lock
    ) as options:
        image, is_new = wiring.bake(options, force=force)
        options.reporter.note(
            f"baked {image.name}"
            if is_new
            else f"{image.name} was baked from this recipe before (--force bakes it again)"
        )
    show((image,))
