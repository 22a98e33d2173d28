"""``onebaton plan``."""

from pathlib import Path
from typing import Annotated

import typer

from onebaton.commands import options as o
from onebaton.errors import Status, UsageError

app = o.new_app()


@app.command()
def plan(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    version: o.Version = None,
    cut: o.Cut = None,
    accept_loss: o.AcceptLoss = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the plan to this file, for `rollout --plan`."),
    ] = None,
    markdown: Annotated[
        str | None,
        typer.Option(
            "--markdown", metavar="FILE", help="Write it as a comment for reviewers; - shows it."
        ),
    ] = None,
    sign_key: Annotated[
        str | None,
        typer.Option(
            "--sign-key",
            metavar="SOURCE",
            help="Sign the plan with this Ed25519 key (PEM): a file, or env:NAME.",
        ),
    ] = None,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Show what a rollout would do now, and why; change nothing.

    The status is 3 if there is something to do, 0 if not.
    """
    from onebaton import wiring
    from onebaton.ui.output import show, show_line

    if sign_key is not None and out is None:
        raise UsageError(
            "--sign-key signs the file of a plan", resolution="Name the file as well: --out FILE"
        )
    to_screen = markdown == "-"
    paper = wiring.Paper(out, None if to_screen or markdown is None else Path(markdown), sign_key)

    with o.opened(
        config,
        clone=clone,
        plain=plain,
        verbose=verbose,
        state=state,
        version=version,
        cut=cut,
        accept_loss=accept_loss,
    ) as options:
        if out is None and markdown is None:
            view, comment = wiring.plan(options), ""
        else:
            view, comment = wiring.plan_for_review(options, paper)
    if to_screen:
        show_line(comment.rstrip("\n"))
    else:
        show(view, as_json=json)
    raise typer.Exit(Status.CHANGES_PENDING if view.steps else Status.OK)
