"""``oneuser show|list|passwd``."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from onecli.api import call, run


def _show(arguments: Sequence[str]) -> None:
    user = ElementTree.fromstring(
        call("one.user.info", int(arguments[0]) if arguments else -1, False)
    )
    print(f"USER {user.findtext('ID')} INFORMATION")
    for label, tag in (
        ("ID", "ID"),
        ("NAME", "NAME"),
        ("GROUP", "GNAME"),
        ("PASSWORD", "PASSWORD"),
        ("AUTH_DRIVER", "AUTH_DRIVER"),
    ):
        print(f"{label:<16}: {user.findtext(tag)}")
    print(f"{'ENABLED':<16}: {'Yes' if user.findtext('ENABLED') == '1' else 'No'}")


def _list(arguments: Sequence[str]) -> None:
    print("  ID NAME                 GROUP      AUTH")
    for user in ElementTree.fromstring(call("one.userpool.info")).findall("USER"):
        print(
            f"{user.findtext('ID', ''):>4} {user.findtext('NAME', ''):<20} "
            f"{user.findtext('GNAME', ''):<10} {user.findtext('AUTH_DRIVER')}"
        )


def _passwd(arguments: Sequence[str]) -> None:
    call("one.user.passwd", int(arguments[0]), arguments[1])


def main(argv: list[str]) -> int:
    """Command line."""
    return run(argv, {"show": _show, "list": _list, "passwd": _passwd})
