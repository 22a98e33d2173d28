"""``onehost list``."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from onecli.api import call, run


def _list(arguments: Sequence[str]) -> None:
    print("  ID NAME                                     CLUSTER    STAT")
    for host in ElementTree.fromstring(call("one.hostpool.info")):
        print(
            f"{host.findtext('ID', ''):>4} {host.findtext('NAME', ''):<40} "
            f"{host.findtext('CLUSTER', ''):<10} init"
        )


def main(argv: list[str]) -> int:
    """Command line."""
    return run(argv, {"list": _list})
