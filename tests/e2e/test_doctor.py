"""The doctor on a living zone: nothing found, then one thing broken at a time."""

import json
import subprocess
from dataclasses import dataclass

import pytest
from tests.e2e.lab import Lab
from tests.e2e.running import run, wait_until

pytestmark = pytest.mark.e2e

#: Shorter than the default: most of what is broken here is not about time.
QUICK = ("--window", "0.5")


@dataclass(frozen=True)
class Trouble:
    """Something wrong with one follower's machine.

    :param check: the check that has to find it, with its verdict.
    :param told: what the finding has to name.
    """

    check: str
    verdict: str
    told: str
    break_it: str
    heal: str


TROUBLES = (
    Trouble(
        "hook-rights",
        "blocker",
        "sudo -n",
        "mkdir /root/away && mv /etc/sudoers.d/opennebula* /root/away/",
        "mv /root/away/* /etc/sudoers.d/ && rmdir /root/away",
    ),
    Trouble(
        "monitor-address",
        "warning",
        "MONITOR_ADDRESS is auto",
        "cp -p /etc/one/monitord.conf /root/ && "
        'sed -i \'s/\\(MONITOR_ADDRESS *= *\\)"[^"]*"/\\1"auto"/\' /etc/one/monitord.conf',
        "mv /root/monitord.conf /etc/one/",
    ),
    Trouble(
        "hooks",
        "blocker",
        "raft/vip.sh",
        "chmod a-x /var/lib/one/remotes/hooks/raft/vip.sh",
        "chmod a+x /var/lib/one/remotes/hooks/raft/vip.sh",
    ),
    Trouble(
        "vip",
        "blocker",
        "more than one machine",
        "ip address add {vip}/32 dev lo",
        "ip address del {vip}/32 dev lo",
    ),
    Trouble(
        "config-drift",
        "warning",
        "API_LIST_ORDER",
        "cp -p /etc/one/oned.conf /root/ && echo 'API_LIST_ORDER = \"ASC\"' >> /etc/one/oned.conf",
        "mv /root/oned.conf /etc/one/",
    ),
    Trouble(
        "leftovers",
        "warning",
        "disabled",
        "systemctl disable --quiet opennebula",
        "systemctl enable --quiet opennebula",
    ),
    Trouble(
        "secrets",
        "blocker",
        "differ",
        "touch /var/lib/one/.one/another_auth",
        "rm /var/lib/one/.one/another_auth",
    ),
)


def ask(zone: Lab, *words: str, status: int) -> list[dict]:
    """What the doctor finds that is not ok."""
    shown = json.loads(zone.onebaton("doctor", "--json", *words, status=status, capture=True))
    assert shown["blocked"] is (status != 0)
    return [row for row in shown["rows"] if row["verdict"] != "ok"]


def lets_in(zone: Lab, address: str) -> bool:
    """The machine answers over ssh."""
    try:
        zone.ssh(address, "true")
    except subprocess.CalledProcessError:
        return False
    return True


def test_a_healthy_zone_has_nothing_in_the_way(zone: Lab):
    before = (zone.containers(), {a: zone.raft(a) for a in zone.addresses("a")})
    outcome = run(zone.command("doctor"))
    outcome.show("doctor")
    assert outcome.status == 0, outcome.out
    assert "nothing stands in the way of a rollout" in outcome.out
    assert "blocker" not in outcome.out
    assert "unknown" not in outcome.out
    # It only looked: nobody wrote a record, nobody was elected.
    assert (zone.containers(), {a: zone.raft(a) for a in zone.addresses("a")}) == before


@pytest.mark.parametrize("trouble", TROUBLES, ids=[one.check for one in TROUBLES])
def test_trouble_is_found_and_healed(zone: Lab, trouble: Trouble):
    leader = zone.leader()
    follower = next(address for address in zone.addresses("a") if address != leader)
    place = zone.addresses("a").index(follower)
    vip = f"{zone.net}.100"
    zone.ssh(follower, trouble.break_it.format(vip=vip))
    try:
        found = ask(zone, *QUICK, status=4 if trouble.verdict == "blocker" else 0)
    finally:
        zone.ssh(follower, trouble.heal.format(vip=vip))

    assert {row["check"] for row in found} >= {trouble.check}
    for row in found:
        if row["check"] == trouble.check:
            assert row["verdict"] == trouble.verdict
            assert trouble.told in f"{row['what']}: {row['evidence']}"
            assert f"{zone.name}-a{place + 1}" in f"{row['what']}: {row['evidence']}"
            assert row["why"]
            assert row["way_out"]
    if trouble.check == "vip":
        # Somebody may have been told that the address is the follower's.
        zone.ssh(leader, f"arping -q -c 1 -U -I eth0 {vip}")


def test_a_machine_that_cannot_be_looked_into_blocks(zone: Lab):
    leader = zone.leader()
    follower = next(address for address in zone.addresses("a") if address != leader)
    keys = "/root/.ssh/authorized_keys"
    # Nobody gets in to heal it: the machine does it by itself.
    later = "systemd-run --quiet --on-active=4 --timer-property=AccuracySec=100ms"
    zone.ssh(follower, f"{later} mv {keys}.away {keys} && mv {keys} {keys}.away")
    found = ask(zone, *QUICK, status=4)
    told = {row["check"]: row for row in found if row["verdict"] == "unknown"}
    assert {"hooks", "hook-rights", "disk", "vip", "machines"} <= set(told)
    assert all(told[check]["blocks"] for check in ("hooks", "hook-rights", "disk", "vip"))
    assert not told["clock"]["blocks"]
    wait_until("the way into the machine", lambda: lets_in(zone, follower), timeout_s=20)


def test_nothing_is_found_once_all_is_healed(zone: Lab):
    left = {row["check"] for row in ask(zone, *QUICK, status=0)}
    assert left & {trouble.check for trouble in TROUBLES} == set()
