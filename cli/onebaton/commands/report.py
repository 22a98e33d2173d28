"""``onebaton report``."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from onebaton.commands import options as o
from onebaton.errors import UsageError

app = o.new_app()


@app.command()
def report(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="The run's id, or `last`; if left out, all are listed."
        ),
    ] = None,
    *,
    form: Annotated[
        Literal["html", "md", "json"] | None,
        typer.Option("--format", help="As it is kept, and not as a table."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; its ending names the format.")
    ] = None,
    config: o.Config = o.DEFAULT_CONFIG,
    state: o.State = None,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """List the reports of all runs, or show one."""
    from onebaton import wiring
    from onebaton.ui.output import show, show_line

    if run is None and (form is not None or out is not None):
        raise UsageError(
            "--format and --out are about one report",
            resolution="Name its run, or say `last`: onebaton report last --out report.html",
        )
    with o.opened(config, plain=plain, verbose=verbose, state=state) as options:
        if run is None:
            reports = wiring.kept_reports(options)
            if reports or json:
                show(reports, as_json=json)
            else:
                show_line("no report is kept yet")
            return
        chosen = form or _named_by(out)
        if chosen is None:
            show(wiring.kept_report(options, run), as_json=json)
            return
        content = wiring.kept_text(options, run, chosen)
    if out is None:
        sys.stdout.buffer.write(content)
        return
    try:
        out.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written: {error.strerror}", resolution="Name another file."
        ) from None


def _named_by(out: Path | None) -> str | None:
    """The format that a file's ending names.

    :raises UsageError: if it names none.
    """
    if out is None:
        return None
    ending = out.suffix.removeprefix(".")
    if ending not in ("html", "md", "json"):
        raise UsageError(
            f"--out {out}: its ending names no format", resolution="Say --format html, md or json."
        )
    return ending
