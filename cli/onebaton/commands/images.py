"""``onebaton images``."""

from typing import Annotated

import typer

from onebaton.commands import options as o
from onebaton.errors import UsageError

app = o.new_app()

Image = Annotated[str, typer.Argument(metavar="IMAGE", help="Its name in the catalogue.")]


@app.callback(invoke_without_command=True)
def images(
    context: typer.Context,
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """List the images that were baked, oldest first; or show, promote, revoke, prune them."""
    if context.invoked_subcommand is None:
        list_images(
            config=config, clone=clone, state=state, plain=plain, verbose=verbose, json=json
        )
        return
    given = [
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    ]
    if given:
        raise UsageError(
            f"--{given[0]} stands before {context.invoked_subcommand}",
            resolution=f"Options come last: onebaton images {context.invoked_subcommand} ...",
        )


@app.command("list")
def list_images(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """List the images that were baked, oldest first."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(config, clone=clone, plain=plain, verbose=verbose, state=state) as options:
        catalogue = wiring.images(options)
    show(catalogue, as_json=json)


@app.command("show")
def show_image(
    image: Image,
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Show one image: what went into it, how it stands, which nodes run it."""
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(config, plain=plain, verbose=verbose, state=state) as options:
        view = wiring.show_image(options, image)
    show(view, as_json=json)


@app.command()
def promote(
    image: Image,
    channel: Annotated[str, typer.Argument(help="E.g. staging or production.")],
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
) -> None:
    """Put an image in a channel, in the place of the one that it holds.

    `image.channel` of a cluster.yaml takes it from there.
    """
    from onebaton import wiring
    from onebaton.ui.output import show_line

    o.require_name("CHANNEL", channel)
    with o.opened(
        config, plain=plain, verbose=verbose, state=state, break_lock=break_lock
    ) as options:
        promoted = wiring.promote(options, image, channel)
    show_line(f"{channel} holds {promoted.name} ({promoted.version})")


@app.command()
def revoke(
    image: Image,
    *,
    reason: Annotated[
        str | None, typer.Option("--reason", help="What is wrong with it; everybody is told.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="It was revoked by mistake.")] = False,
    config: o.Config = o.DEFAULT_CONFIG,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
) -> None:
    """Have an image used by no plan and no rollout any more."""
    from onebaton import wiring
    from onebaton.ui.output import show

    if undo == (reason is not None):
        raise UsageError("give either --reason or --undo", resolution="Say what is wrong with it.")
    with o.opened(config, plain=plain, verbose=verbose, state=state) as options:
        if reason is None:
            view = wiring.reinstate(options, image)
        else:
            view = wiring.revoke(options, image, reason)
    show(view)


@app.command()
def prune(
    *,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Newest images of each version that stay too.")
    ] = 1,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: o.Config = o.DEFAULT_CONFIG,
    state: o.State = None,
    break_lock: o.BreakLock = False,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
) -> None:
    """Remove images that no node runs, no channel holds, and nothing begun needs."""
    from onebaton import wiring
    from onebaton.ui.output import show, show_line

    with o.opened(config, plain=plain, verbose=verbose, state=state) as options:
        preview = wiring.prune_preview(options, keep=keep)
    if not preview.going:
        show(preview)
        return
    if not yes:
        show(preview)
        o.confirm(f"remove {', '.join(preview.going)}", otherwise="nothing was removed")
    with o.opened(
        config, plain=plain, verbose=verbose, state=state, break_lock=break_lock
    ) as options:
        removed = wiring.prune(options, keep=keep)
    show_line(f"removed {', '.join(removed.going) or 'nothing'}")
