"""The doctor on a living zone: nothing found, then one thing broken at a time."""

import json
from dataclasses import dataclass

import pytest
from tests.e2e.lab import Lab
from tests.e2e.running import run

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
        # Without answering for it: a stale neighbour entry would outlive the test.
        "sysctl -qw net.ipv4.conf.all.arp_ignore=1; ip address add {vip}/32 dev lo",
        "ip address del {vip}/32 dev lo; sysctl -qw net.ipv4.conf.all.arp_ignore=0",
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

    (row,) = [row for row in found if row["check"] == trouble.check]
    assert row["verdict"] == trouble.verdict
    assert trouble.told in f"{row['what']}: {row['evidence']}"
    assert f"{zone.name}-a{place + 1}" in f"{row['what']}: {row['evidence']}"
    assert row["why"]
    assert row["way_out"]
    assert ask(zone, *QUICK, status=0) == []


def test_a_machine_that_cannot_be_looked_into_blocks(zone: Lab):
    leader = zone.leader()
    follower = next(address for address in zone.addresses("a") if address != leader)
    keys = "/root/.ssh/authorized_keys"
    # Nobody gets in to heal it: the machine does it by itself.
    heal = f"systemd-run --quiet --on-active=6 mv {keys}.away {keys}"
    zone.ssh(follower, f"{heal} && mv {keys} {keys}.away")
    found = ask(zone, *QUICK, status=4)
    told = {row["check"]: row for row in found if row["verdict"] == "unknown"}
    assert {"hooks", "hook-rights", "disk", "vip", "machines"} <= set(told)
    assert all(told[check]["blocks"] for check in ("hooks", "hook-rights", "disk", "vip"))
    assert not told["clock"]["blocks"]
