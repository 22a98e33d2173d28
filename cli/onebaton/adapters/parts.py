"""Where the parts that are rendered and applied lie: templates, packer, terraform.

In an installed package they are below it; in a checkout they stand beside ``cli``.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "_parts", _PACKAGE.parents[1])


def part(*names: str) -> Path:
    """Path of a part, e.g. ``part("packer", "provision")``.

    :raises FileNotFoundError: if the package was installed without it.
    """
    for place in _PLACES:
        path = place.joinpath(*names)
        if path.exists():
            return path
    raise FileNotFoundError(f"this installation lacks {'/'.join(names)}; install it anew")
