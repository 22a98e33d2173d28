"""``onebaton doctor``."""

from typing import Annotated

import typer

from onebaton.commands import options as o
from onebaton.errors import Status

app = o.new_app()

Window = Annotated[
    float,
    typer.Option(
        "--window",
        min=0.0,
        max=300.0,
        help="Seconds over which the term is seen to stand still; longer than an election "
        "timeout tells more.",
    ),
]


@app.command()
def doctor(
    *,
    config: o.Config = o.DEFAULT_CONFIG,
    clone: o.Clone = None,
    version: o.Version = None,
    state: o.State = None,
    window: Window = 6.0,
    plain: o.Plain = None,
    verbose: o.Verbose = False,
    json: o.Json = False,
) -> None:
    """Examine the zone and its machines before a rollout; change nothing.

    Every precondition with its evidence and the way out. The status is 4 if something stands in
    the way of a rollout, or if that could not be told; 0 if not, warnings or none.
    """
    from onebaton import wiring
    from onebaton.ui.output import show

    with o.opened(
        config,
        clone=clone,
        plain=plain,
        verbose=verbose,
        state=state,
        version=version,
    ) as options:
        view = wiring.doctor(options, window_s=window)
    show(view, as_json=json)
    raise typer.Exit(Status.REFUSED if view.blocked else Status.OK)
