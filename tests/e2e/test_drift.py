"""Drift of a living zone: none, then what somebody changed behind everybody's back, then none."""

import json
import subprocess

import pytest
from tests.e2e.conftest import OLD, wait_whole
from tests.e2e.lab import Lab
from tests.e2e.running import run

pytestmark = pytest.mark.e2e

#: By hand on a machine: what the zone decides about, what the image does, and a file of its own.
CHANGE = """\
cp -p /etc/one/oned.conf /root/
sed -i 's/\\(LOG_RETENTION *= *\\)[0-9]*/\\11234/' /etc/one/oned.conf
echo 'API_LIST_ORDER = "ASC"' >> /etc/one/oned.conf
echo '# mine' >> /var/lib/one/remotes/hooks/raft/vip.sh
"""
UNDO = """\
mv /root/oned.conf /etc/one/
sed -i '$ d' /var/lib/one/remotes/hooks/raft/vip.sh
"""


def podman(*words: str) -> None:
    subprocess.run(["podman", *words], check=True, capture_output=True, timeout=60)


def ask(zone: Lab, *, status: int) -> dict[tuple[str, str], dict]:
    """What is told, by area and place; one of each that is told more than once."""
    shown = json.loads(
        zone.onebaton("drift", "--version", OLD, "--json", status=status, capture=True)
    )
    assert shown["notes"] == []
    return {(row["area"], f"{row['place']} {row['expected']}"): row for row in shown["rows"]}


def test_a_zone_that_nobody_touched_has_none(zone: Lab):
    before = (zone.containers(), {a: zone.raft(a) for a in zone.addresses("a")})
    outcome = run(zone.command("drift", "--version", OLD))
    outcome.show("drift")
    assert outcome.status == 0, outcome.out + outcome.err
    assert "no drift" in outcome.out
    # It only looked: nobody wrote a record, nobody was elected.
    assert (zone.containers(), {a: zone.raft(a) for a in zone.addresses("a")}) == before


def test_what_was_changed_by_hand_is_named_until_it_is_healed(zone: Lab):
    leader = zone.leader()
    changed, stopped = (
        (address, f"{zone.name}-a{place}")
        for place, address in enumerate(zone.addresses("a"), start=1)
        if address != leader
    )
    zone.ssh(changed[0], CHANGE)
    podman("kill", stopped[1])
    try:
        told = ask(zone, status=3)
    finally:
        zone.ssh(changed[0], UNDO)
        podman("start", stopped[1])
    conf = f"{changed[1]}:/etc/one/oned.conf"
    expected = {
        ("configuration", f"{conf} RAFT/LOG_RETENTION = 250000"): "1234",
        ("configuration", f"{conf} API_LIST_ORDER as the image brought it"): "added by hand",
        ("nodes", f"{stopped[1]} running"): "stopped",
    }
    assert {key: row["found"] for key, row in told.items() if key in expected} == expected
    (hooks,) = told.keys() - expected.keys()
    # With two machines to compare nobody knows which one is right.
    assert "/var/lib/one/remotes/hooks" in hooks[1]
    assert all(row["way_back"] for row in told.values())
    wait_whole(zone)
    assert ask(zone, status=0) == {}
