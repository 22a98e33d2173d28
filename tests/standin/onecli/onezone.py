"""``onezone show|list|server-add|server-del|server-reset|enable|disable``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from xml.etree import ElementTree

from onecli.api import ApiError, call, run

_STATES = {"0": "solo", "1": "candidate", "2": "follower", "3": "leader"}
_STATUS_TIMEOUT_S = 2.0


def _show(arguments: Sequence[str]) -> None:
    zone = ElementTree.fromstring(call("one.zone.info", int(arguments[0]), False))
    servers = zone.findall("SERVER_POOL/SERVER")
    state = "DISABLED" if zone.findtext("STATE") == "1" else "ENABLED"
    print(f"ZONE {zone.findtext('ID')} INFORMATION")
    print(f"ID                : {zone.findtext('ID')}")
    print(f"NAME              : {zone.findtext('NAME')}")
    print(f"STATE             : {state}\n")
    print("ZONE SERVERS\nID NAME            ENDPOINT")
    for server in servers:
        print(
            f"{server.findtext('ID', ''):>2} {server.findtext('NAME', ''):<15} "
            f"{server.findtext('ENDPOINT')}"
        )
    print("\nHA & FEDERATION SYNC STATUS")
    print("ID NAME            STATE      TERM       INDEX      COMMIT     VOTE  FED_INDEX")
    for server in servers:
        print(_status_line(server))


def _status_line(server: ElementTree.Element) -> str:
    head = f"{server.findtext('ID', ''):>2} {server.findtext('NAME', ''):<15} "
    try:
        text = call(
            "one.zone.raftstatus", at=server.findtext("ENDPOINT"), timeout_s=_STATUS_TIMEOUT_S
        )
    except ApiError:
        return head + f"{'error':<10} {'-':<10} {'-':<10} {'-':<10} {'-':<5} -"
    raft = ElementTree.fromstring(text)
    term, index, commit = (raft.findtext(tag, "-") for tag in ("TERM", "LOG_INDEX", "COMMIT"))
    state = _STATES.get(raft.findtext("STATE", ""), "error")
    return head + (
        f"{state:<10} {term:<10} {index:<10} {commit:<10} {raft.findtext('VOTEDFOR', '-'):<5} "
        f"{raft.findtext('FEDLOG_INDEX', '-')}"
    )


def _list(arguments: Sequence[str]) -> None:
    print("  ID NAME            ENDPOINT                                FED_INDEX")
    pool = ElementTree.fromstring(call("one.zonepool.info"))
    for zone in pool:
        endpoint = zone.findtext("TEMPLATE/ENDPOINT", "")
        print(f"{zone.findtext('ID', ''):>4} {zone.findtext('NAME', ''):<15} {endpoint:<39} -1")


def _server_add(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="onezone server-add")
    parser.add_argument("zone", type=int)
    parser.add_argument("-n", "--name", required=True)
    parser.add_argument("-r", "--rpc", required=True)
    options = parser.parse_args(arguments)
    template = f'SERVER = [ NAME="{options.name}", ENDPOINT="{options.rpc}" ]'
    call("one.zone.addserver", options.zone, template)


def _server_del(arguments: Sequence[str]) -> None:
    call("one.zone.delserver", int(arguments[0]), int(arguments[1]))


def _server_reset(arguments: Sequence[str]) -> None:
    call("one.zone.resetserver", int(arguments[0]), int(arguments[1]))


def _enable(arguments: Sequence[str]) -> None:
    call("one.zone.enable", int(arguments[0]), True)


def _disable(arguments: Sequence[str]) -> None:
    call("one.zone.enable", int(arguments[0]), False)


def main(argv: list[str]) -> int:
    """Command line."""
    return run(
        argv,
        {
            "show": _show,
            "list": _list,
            "server-add": _server_add,
            "server-del": _server_del,
            "server-reset": _server_reset,
            "enable": _enable,
            "disable": _disable,
        },
    )
