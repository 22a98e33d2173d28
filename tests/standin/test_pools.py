"""Objects of every pool can be created, changed and deleted, on either schema.

Methods and parameters are the real ones; bodies hold what a client reads back.
"""

from __future__ import annotations

import time
import xmlrpc.client
from collections.abc import Iterator
from typing import Any

import pytest
from tests.standin.harness import HarnessError, MariaDB, Server, Zone, mariadb, wait_for, zone

pytestmark = pytest.mark.integration

#: Parameters that create an object of a kind; ``{}`` is its name.
_CREATE: dict[str, tuple[object, ...]] = {
    "backupjob": ('NAME="{}"',),
    "cluster": ("{}",),
    "datastore": ('NAME="{}"\nDS_MAD="dummy"\nTM_MAD="dummy"', 0),
    "document": ('NAME="{}"', 100),
    "group": ("{}",),
    "hook": ('NAME="{}"\nTYPE="api"\nCALL="one.vm.allocate"\nCOMMAND="/bin/true"',),
    "host": ("{}", "dummy", "dummy", 0),
    "image": ('NAME="{}"\nTYPE="DATABLOCK"\nSIZE="1"', 1),
    "market": ('NAME="{}"\nMARKET_MAD="http"',),
    "marketapp": ('NAME="{}"', 0),
    "secgroup": ('NAME="{}"',),
    "template": ('NAME="{}"',),
    "user": ("{}", "secret", ""),
    "vdc": ('NAME="{}"',),
    "vmgroup": ('NAME="{}"',),
    "vn": ('NAME="{}"\nVN_MAD="dummy"', 0),
    "vntemplate": ('NAME="{}"\nVN_MAD="dummy"',),
    "vrouter": ('NAME="{}"',),
}
#: Their tables know no unique name.
_MAY_SHARE_A_NAME = {"backupjob", "document", "hook", "template", "vntemplate", "vrouter"}


@pytest.fixture(scope="module")
def database() -> Iterator[MariaDB]:
    try:
        with mariadb() as started:
            yield started
    except HarnessError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module", params=["6.10.0", "7.0.2"])
def two(database: MariaDB, request: pytest.FixtureRequest) -> Iterator[Zone]:
    timeouts = (1000, 3000)
    with zone(database, size=2, release=request.param, election_timeouts_ms=timeouts) as started:
        yield started


def _ask(server: Server, method: str, *arguments: object) -> Any:
    answer = server.call(method, *arguments)
    assert answer[0] is True, answer[1]
    return answer[1]


def _level(started: Zone) -> None:
    def same() -> bool:
        states = [one.raft_status() for one in started.servers]
        return len({(one["LOG_INDEX"], one["COMMIT"]) for one in states}) == 1

    wait_for(same, 15, "both servers to be level")
    time.sleep(0.3)


def _given(kind: str) -> list[object]:
    return [one.format(f"one-{kind}") if isinstance(one, str) else one for one in _CREATE[kind]]


@pytest.mark.parametrize("kind", sorted(_CREATE))
def test_an_object_lives_and_dies(two: Zone, kind: str) -> None:
    leader, follower = two.servers
    oid = _ask(follower, f"one.{kind}.allocate", *_given(kind))
    assert f"<NAME>one-{kind}</NAME>" in _ask(leader, f"one.{kind}.info", oid)
    again = leader.call(f"one.{kind}.allocate", *_given(kind))
    assert again[0] is (kind in _MAY_SHARE_A_NAME)
    assert _ask(leader, f"one.{kind}.update", oid, 'COLOUR="red"', 1) == oid
    assert "<COLOUR><![CDATA[red]]></COLOUR>" in _ask(leader, f"one.{kind}.info", oid)
    assert _ask(leader, f"one.{kind}.delete", oid) == oid
    assert leader.call(f"one.{kind}.info", oid)[2] == 1024


def test_a_machine_lives_and_stays_when_it_has_ended(two: Zone) -> None:
    leader, follower = two.servers
    host = _ask(leader, "one.host.allocate", "metal", "dummy", "dummy", 0)
    vm = _ask(follower, "one.vm.allocate", 'NAME="web"\nCPU="1"\nMEMORY="64"\nNOTE="a"', False)
    assert _ask(leader, "one.vm.update", vm, 'NOTE="b"', 0) == vm
    assert _ask(leader, "one.vm.deploy", vm, host) == vm
    info = _ask(leader, "one.vm.info", vm)
    assert "<STATE>3</STATE><LCM_STATE>3</LCM_STATE>" in info
    assert "<NOTE><![CDATA[b]]></NOTE>" in info
    assert "<HOSTNAME>metal</HOSTNAME>" in info
    assert leader.call("one.vm.deploy", vm, host)[0] is False
    assert _ask(leader, "one.vm.action", "terminate-hard", vm) == vm
    ended = _ask(leader, "one.vm.info", vm)
    assert "<STATE>6</STATE><LCM_STATE>0</LCM_STATE>" in ended
    assert leader.call("one.vm.action", "terminate-hard", vm)[0] is False
    assert f"<ID>{vm}</ID>" not in _ask(leader, "one.vmpool.info", -2, -1, -1, -1)
    assert f"<ID>{vm}</ID>" in _ask(leader, "one.vmpool.info", -2, -1, -1, -2)
    with pytest.raises(xmlrpc.client.Fault, match="not defined"):
        leader.call("one.vm.delete", vm)


def test_rules_and_the_zone_itself(two: Zone) -> None:
    leader, follower = two.servers
    rule = _ask(follower, "one.acl.addrule", "200000001", "1000400000000", "1", "400000000")
    assert f"<ID>{rule}</ID>" in _ask(leader, "one.acl.info")
    assert (
        leader.call("one.acl.addrule", "200000001", "1000400000000", "1", "400000000")[0] is False
    )
    assert _ask(leader, "one.acl.delrule", rule) == rule
    assert f"<ID>{rule}</ID>" not in _ask(leader, "one.acl.info")
    _ask(leader, "one.zone.update", 0, 'PLACE="cellar"', 1)
    info = _ask(leader, "one.zone.info", 0, False)
    assert "<PLACE><![CDATA[cellar]]></PLACE>" in info
    assert "<ENDPOINT>" in info


def test_both_servers_hold_the_same_afterwards(two: Zone) -> None:
    _level(two)
    sums = [
        two.database.sql(
            "SELECT GROUP_CONCAT(table_name SEPARATOR ', ') INTO @t FROM "
            f"information_schema.tables WHERE table_schema = '{one.name}' AND table_name NOT IN "
            "('logdb', 'system_attributes'); EXECUTE IMMEDIATE CONCAT('CHECKSUM TABLE ', @t)",
            one.name,
        )
        for one in two.servers
    ]
    first, second = ({row[0].split(".")[1]: row[1] for row in rows} for rows in sums)
    assert first == second
    assert len(first) > 30
