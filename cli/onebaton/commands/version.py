"""``onebaton version``."""

from onebaton import __version__
from onebaton.commands import options as o

app = o.new_app()


@app.command()
def version() -> None:
    """Print the version."""
    from onebaton.ui.output import show_line

    show_line(f"onebaton {__version__}")
