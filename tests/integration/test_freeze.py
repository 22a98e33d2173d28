"""A zone of three real machines is stopped at once, and nothing acknowledged is lost."""

import sys
import threading
import time
from collections.abc import Iterator

import pytest
from tests.integration.frontend_lab import (
    Lab,
    endpoint,
    found_zone,
    front_ends,
    wait_for,
)

from onebaton.errors import UnavailableError
from onebaton.model import Host

pytestmark = pytest.mark.integration

#: Shortest time after which a follower that hears no leader stands for election: who is still
#: being stopped then could lead. How long it takes at rest is printed.
ELECTION_S = 5.0
DRAIN_S = 0.05


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with front_ends(tmp_path_factory.mktemp("freeze"), 3, subnet="10.201.33") as lab:
        first, *rest = lab.hosts
        for host in lab.hosts:
            lab.frontends.wait_ready(host, timeout_s=60)
        found_zone(lab, first)
        lab.frontends.copy_secrets(first, rest)
        lab.frontends.seed(first, rest, timeout_s=60)
        for number, host in enumerate(rest, start=1):
            server = f'SERVER=[NAME="{host.name}",ENDPOINT="{endpoint(host)}"]'
            assert lab.call(first, "one.zone.addserver", 0, server)[0]
            lab.frontends.configure(
                host, server_id=number, election_timeout_ms=5000, server_ids=[0, 1, 2]
            )
            lab.frontends.ship_log(first, host)
            lab.frontends.start(host, timeout_s=60)
            wait_for(lambda h=host: lab.raft(h)["STATE"] == 2, "a follower")
        yield lab


def restart(lab: Lab) -> None:
    for host in lab.hosts:
        lab.frontends.start(host, timeout_s=60)
    # Steered: the first one's timeout is the shortest.
    wait_for(lambda: lab.raft(lab.hosts[0])["STATE"] == 3, "the first one to lead", 60)
    wait_for(lambda: lab.frontends.facts(lab.hosts[0]).holds_vip, "the virtual IP")


def assert_stopped(lab: Lab, host: Host) -> None:
    facts = lab.frontends.facts(host)
    assert (facts.oned_active, facts.oned_masked, facts.holds_vip) == (False, True, False)
    assert lab.sh(host, "ls /var/lock/one/one", check=False) == ""
    assert "onebaton" not in lab.sh(host, "nft list tables")


def freeze(lab: Lab) -> float:
    first, *rest = lab.hosts
    # As a step does: connections stand when time begins to count.
    lab.frontends.facts_of(lab.hosts)
    began = time.monotonic()
    lab.frontends.freeze(first, rest, drain_s=DRAIN_S)
    return time.monotonic() - began


def test_what_was_acknowledged_is_in_the_leaders_database(lab):
    first, second, _ = lab.hosts
    wait_for(lambda: lab.frontends.facts(first).holds_vip, "the virtual IP")
    # The leader's own hook is at work for ten seconds after its election.
    time.sleep(11)
    acknowledged: list[int] = []
    stop = threading.Event()

    def hammer(through: Host) -> None:
        while not stop.is_set():
            try:
                acknowledged.append(lab.write(through, "hammered"))
            except (OSError, AssertionError):
                return

    writers = [threading.Thread(target=hammer, args=(host,)) for host in (first, second)]
    for writer in writers:
        writer.start()
    time.sleep(1)
    took = freeze(lab)
    stop.set()
    for writer in writers:
        writer.join()
    sys.stdout.write(f"frozen in {took:.2f} s under {len(acknowledged)} writes\n")
    for host in lab.hosts:
        assert_stopped(lab, host)
    applied = lab.frontends.log_position(first).last_applied
    assert all(lab.frontends.log_position(host).last_applied <= applied for host in lab.hosts)
    held = lab.sh(first, "mariadb -N opennebula -e 'SELECT oid FROM document_pool'").split()
    assert len(acknowledged) > 20
    assert {str(number) for number in acknowledged} <= set(held)


def test_what_is_stopped_already_stays_stopped(lab):
    took = freeze(lab)
    sys.stdout.write(f"frozen once more in {took:.2f} s\n")
    for host in lab.hosts:
        assert_stopped(lab, host)


def test_it_takes_less_than_an_election(lab):
    restart(lab)
    time.sleep(11)
    took = freeze(lab)
    sys.stdout.write(f"frozen in {took:.2f} s at rest\n")
    assert took < ELECTION_S
    time.sleep(6)
    # RestartSec is 5 s: nothing revives them.
    for host in lab.hosts:
        assert_stopped(lab, host)


def test_a_leader_of_a_moment_is_stopped_with_its_hook(lab):
    restart(lab)
    took = freeze(lab)
    sys.stdout.write(f"frozen in {took:.2f} s right after an election\n")
    for host in lab.hosts:
        assert_stopped(lab, host)
    assert took < ELECTION_S


def test_one_that_is_not_reached_does_not_keep_the_others_running(lab):
    restart(lab)
    first, second, third = lab.hosts
    gone = Host("gone", first.address.rsplit(".", 1)[0] + ".99")
    with pytest.raises(UnavailableError, match="gone may still run") as caught:
        lab.frontends.freeze(first, [second, gone, third], drain_s=DRAIN_S)
    assert f"{second.name}: stopped" in caught.value.details
    for host in lab.hosts:
        assert_stopped(lab, host)
    # The leader's own machine may be the one.
    restart(lab)
    with pytest.raises(UnavailableError, match="gone may still run"):
        lab.frontends.freeze(gone, lab.hosts, drain_s=DRAIN_S)
    for host in lab.hosts:
        assert_stopped(lab, host)
