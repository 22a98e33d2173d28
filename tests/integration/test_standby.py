"""The held stand-by on real machines: 6.10.5 serves, 7.0.2 is held, let go, and thrown away.

The tests go down one road; each begins where the one before it ended.
"""

import sys
import time
from collections.abc import Iterator

import pytest
from tests.integration.frontend_lab import (
    PASSWORD,
    Lab,
    endpoint,
    found_zone,
    front_ends,
    wait_for,
)

from onebaton.adapters.standby import SshStandBy
from onebaton.adapters.zone import session_of
from onebaton.config import DatabaseConfig
from onebaton.errors import OnebatonError, RefusedError, StepFailedError, UnavailableError
from onebaton.model import AheadStage, Host, RaftState, Secret, Server

pytestmark = pytest.mark.integration

#: What a started server waits before it may lead; one that was held has that behind it.
WARM_UP_S = 15.0

SUBNET = "10.201.32"
VIP_SH = "/var/lib/one/remotes/hooks/raft/vip.sh"
NEW_ID = 1
TIMEOUT_MS = 1000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("standby")
    with front_ends(folder, 2, versions=["6.10.5", "7.0.2"], subnet=SUBNET) as lab:
        yield lab


@pytest.fixture
def old(lab: Lab) -> Host:
    return lab.hosts[0]


@pytest.fixture
def new(lab: Lab) -> Host:
    return lab.hosts[1]


@pytest.fixture
def standby(lab: Lab) -> SshStandBy:
    return SshStandBy(
        lab.ssh,
        database=DatabaseConfig(),
        vip=lab.vip.address,
        port=2633,
        ssh_port=22,
        session=lambda: session_of("oneadmin", Secret(PASSWORD)),
    )


def server(host: Host) -> Server:
    return Server(NEW_ID, host.name, endpoint(host))


def hold(standby: SshStandBy, lab: Lab) -> None:
    old, new = lab.hosts
    standby.hold(
        new,
        server=server(new),
        election_timeout_ms=TIMEOUT_MS,
        outside=[old.address, lab.vip.address],
        timeout_s=60,
    )


def pid(lab: Lab, host: Host) -> str:
    return lab.sh(host, "systemctl show -p MainPID --value opennebula")


def connects(lab: Lab, source: Host, target: Host) -> bool:
    script = f"timeout 2 bash -c 'exec 3<>/dev/tcp/{target.address}/2633' 2>/dev/null"
    return lab.sh(source, f"{script} && echo yes || echo no") == "yes"


def reached(lab: Lab, host: Host) -> bool:
    return lab.frontends.facts_of([host])[host.name].__class__ is not str


def leads(standby: SshStandBy, host: Host) -> bool:
    status = standby.held_status(host)
    return status is not None and status.state is RaftState.LEADER


def servers_listed(lab: Lab, host: Host) -> list[str]:
    text = lab.sh(host, "mariadb -N opennebula -e 'SELECT body FROM zone_pool'")
    pool = text.rpartition("<SERVER_POOL>")[2]
    return [part.split("]]>")[0] for part in pool.split("<ENDPOINT><![CDATA[")[1:]]


def test_a_zone_serves_and_a_copy_of_it_is_migrated(lab, standby, old, new):
    for host in lab.hosts:
        lab.frontends.wait_ready(host, timeout_s=60)
    found_zone(lab, old)
    for number in range(5):
        lab.write(old, f"d{number}")
    lab.frontends.copy_secrets(old, [new])
    lab.frontends.seed(old, [new], timeout_s=60)
    lab.frontends.configure(new, server_id=NEW_ID, election_timeout_ms=TIMEOUT_MS, server_ids=[1])
    with pytest.raises(RefusedError, match="no migrated copy"):
        hold(standby, lab)
    standby.begin(new, timeout_s=120)
    ahead = lab.frontends.facts(new).ahead
    assert ahead.stage is AheadStage.MIGRATED
    assert ahead.warm == lab.frontends.facts(new).database
    assert standby.held_status(new) is None


def test_a_configuration_that_is_not_the_one_to_be_held_is_refused(lab, standby, new):
    lab.frontends.configure(new, server_id=7, election_timeout_ms=TIMEOUT_MS)
    with pytest.raises(StepFailedError, match="not the one to be held") as caught:
        hold(standby, lab)
    assert "SERVER_ID 7 instead of 1" in caught.value.details
    lab.frontends.configure(new, server_id=NEW_ID, election_timeout_ms=TIMEOUT_MS, server_ids=[1])


def test_a_fence_that_leaks_keeps_oned_from_being_started(lab, standby, new):
    # Before the real program in PATH: one that does nothing.
    fake = "/usr/local/sbin/nft"
    lab.sh(new, f"printf '#!/bin/sh\\nexit 0\\n' > {fake}; chmod +x {fake}")
    try:
        with pytest.raises(StepFailedError, match=r"does not hold.*was reached") as caught:
            hold(standby, lab)
    finally:
        lab.sh(new, f"rm {fake}")
    assert not lab.frontends.facts(new).oned_active
    assert "nft list ruleset" in str(caught.value.resolution)


def test_it_is_held(lab, standby, old, new):
    began = time.monotonic()
    hold(standby, lab)
    sys.stdout.write(f"held after {time.monotonic() - began:.1f} s\n")
    facts = lab.frontends.facts(new)
    assert facts.ahead.stage is AheadStage.HELD
    assert facts.oned_active
    assert not facts.oned_enabled
    assert not facts.holds_vip
    assert lab.sh(new, "ls /var/lock/one") == "one.onebaton-held"
    assert lab.sh(new, f"stat -c %a {VIP_SH}") == "644"
    assert servers_listed(lab, new) == [
        endpoint(new), "http://127.0.0.1:1/RPC2", "http://127.0.0.1:2/RPC2"
    ]  # fmt: skip
    status = standby.held_status(new)
    assert status.server_id == NEW_ID


def test_held_once_more_nothing_happens(lab, standby, new):
    before = pid(lab, new)
    hold(standby, lab)
    assert pid(lab, new) == before


def test_it_becomes_a_candidate_and_never_leads(lab, standby, old, new):
    wait_for(lambda: standby.held_status(new).state is RaftState.CANDIDATE, "a candidate")
    first = standby.held_status(new)
    production = lab.raft(old)["TERM"]
    until = time.monotonic() + 20
    while time.monotonic() < until:
        status = standby.held_status(new)
        assert status.state in (RaftState.CANDIDATE, RaftState.FOLLOWER)
        assert not lab.frontends.facts(new).holds_vip
        time.sleep(0.5)
    assert standby.held_status(new).term > first.term
    assert lab.raft(old)["TERM"] == production
    assert lab.raft(old)["STATE"] == 3


def test_nothing_comes_in_or_goes_out_but_ssh(lab, old, new):
    assert connects(lab, new, old) is False
    assert connects(lab, old, new) is False
    assert connects(lab, old, old) is True
    # The same answer with the fence away, so that it is the fence that was seen.
    lab.sh(
        new, "nft list table inet onebaton_held > /tmp/fence; nft delete table inet onebaton_held"
    )
    try:
        assert connects(lab, new, old) is True
        assert connects(lab, old, new) is True
    finally:
        lab.sh(new, "nft -f /tmp/fence")
    assert connects(lab, old, new) is False


def test_whoever_holds_it_may_die(lab, standby, new):
    before = pid(lab, new)
    # Every connection of ours at once, without a word.
    lab.sh(new, "pkill -KILL -x sshd; systemctl reset-failed ssh; systemctl restart ssh")
    time.sleep(2)
    assert pid(lab, new) == before
    assert lab.sh(new, "nft list table inet onebaton_held") != ""
    wait_for(lambda: reached(lab, new), "the node over ssh")
    assert lab.frontends.facts(new).ahead.stage is AheadStage.HELD


def test_its_database_follows_meanwhile(lab, standby, old, new):
    lab.write(old, "while-held")
    batch = standby.follow(old, new, timeout_s=60)
    assert batch.records > 0
    assert batch.rows.get("zone_pool", 0) == 0 or servers_listed(lab, new)[0] == endpoint(new)
    assert lab.sh(new, "ls /var/lock/one") == "one.onebaton-held"
    assert lab.frontends.facts(new).database == batch.reached


def test_what_it_needs_is_not_taken_away_beneath_it(standby, new):
    with pytest.raises(RefusedError, match="is held on"):
        standby.settle(new)
    with pytest.raises(RefusedError, match="oned runs on"):
        standby.begin(new, timeout_s=60)


def test_one_that_was_started_by_others_is_not_let_go_but_held_anew(lab, standby, new):
    lab.sh(new, "systemctl kill -s KILL opennebula; sleep 1; systemctl reset-failed opennebula")
    # RestartSec is 5 s.
    time.sleep(6)
    assert standby.held_status(new) is None
    with pytest.raises(StepFailedError, match="does not run any more"):
        standby.release(new, server=server(new))
    lab.sh(new, "systemctl start opennebula")
    with pytest.raises(StepFailedError, match="was started anew"):
        standby.release(new, server=server(new))
    assert lab.sh(new, f"stat -c %a {VIP_SH}") == "644"
    assert len(servers_listed(lab, new)) == 3
    hold(standby, lab)
    assert lab.sh(new, "ls /var/lock/one") == "one.onebaton-held"


def test_after_a_restart_of_the_machine_nothing_starts_it(lab, standby, new):
    lab.podman.run(["restart", "--time", "0", new.name], timeout_s=60)
    wait_for(lambda: reached(lab, new), "the machine over ssh", 60)
    lab.frontends.wait_ready(new, timeout_s=60)
    facts = lab.frontends.facts(new)
    assert not facts.oned_active
    assert not facts.oned_enabled
    assert facts.ahead.stage is AheadStage.HELD
    assert lab.sh(new, "nft list tables") == ""
    # Not by hand either: there is no fence.
    lab.sh(new, "systemctl start opennebula", check=False)
    assert not lab.frontends.facts(new).oned_active
    assert standby.held_status(new) is None
    hold(standby, lab)
    assert not lab.frontends.facts(new).oned_enabled


def test_a_heartbeat_is_refused_in_an_old_term_and_heard_in_a_new_one(standby, new):
    wait_for(lambda: standby.held_status(new).state is RaftState.CANDIDATE, "a candidate")
    with pytest.raises(OnebatonError):
        standby.heartbeat(new, 0)
    standby.heartbeat(new, standby.held_status(new).term + 1)
    assert standby.held_status(new).state is RaftState.FOLLOWER


def test_let_go_it_leads_at_once(lab, standby, old, new):
    standby.follow(old, new, timeout_s=60)
    lab.write(Host("vip", lab.vip.address), "the last one before")
    lab.frontends.facts_of([old, new])
    began = time.monotonic()
    lab.frontends.freeze(old, [], drain_s=0.05)
    frozen = time.monotonic()
    # In a cut these two are done at the same time: the migrator must find no lock.
    standby.loosen(new, server=server(new))
    assert standby.follow(old, new, timeout_s=60).migrator_s > 0
    followed = time.monotonic()
    wait_for(lambda: standby.held_status(new).state is RaftState.CANDIDATE, "a candidate")
    standby.heartbeat(new, standby.held_status(new).term + 1)
    beaten = time.monotonic()
    standby.release(new, server=server(new))
    released = time.monotonic()
    while not leads(standby, new):
        assert time.monotonic() - released < WARM_UP_S
        status = standby.held_status(new)
        if status.state is RaftState.CANDIDATE:
            standby.heartbeat(new, status.term + 1)
    leading = time.monotonic()
    wait_for(lambda: lab.frontends.facts(new).holds_vip, "the virtual IP")
    number = lab.write(Host("vip", lab.vip.address), "after")
    written = time.monotonic()
    sys.stdout.write(
        f"freeze {frozen - began:.2f} s, last batch {followed - frozen:.2f} s, release "
        f"{released - beaten:.2f} s, leads {leading - beaten:.2f} s after the heartbeat, "
        f"a write {written - beaten:.2f} s after it\n"
    )
    assert leading - released < WARM_UP_S
    assert number > 0
    facts = lab.frontends.facts(new)
    assert facts.ahead.stage is AheadStage.RELEASED
    assert facts.oned_enabled
    assert facts.known_servers == {NEW_ID}
    assert servers_listed(lab, new) == [endpoint(new)]
    assert lab.sh(new, f"stat -c %a {VIP_SH}") == "755"
    assert (
        lab.sh(new, "test -e /var/lock/one/one && ls /var/lock/one | grep held", check=False) == ""
    )
    assert lab.sh(new, "nft list tables") == ""
    assert lab.sh(new, "systemctl show -p Restart --value opennebula") == "on-failure"


def test_let_go_once_more_nothing_changes_and_it_is_not_held_again(lab, standby, new):
    before = pid(lab, new)
    standby.release(new, server=server(new))
    assert leads(standby, new)
    with pytest.raises(RefusedError, match="was let go already"):
        hold(standby, lab)
    standby.settle(new)
    standby.settle(new)
    assert pid(lab, new) == before
    assert lab.frontends.facts(new).ahead is None
    assert lab.sh(new, "ls /var/lib/onebaton | grep held", check=False) == ""
    assert lab.write(new, "settled") > 0


def test_thrown_away_nothing_of_it_is_left(lab, standby, new):
    assert standby.discard(new)
    facts = lab.frontends.facts(new)
    assert not facts.oned_active
    assert facts.oned_masked
    assert not facts.holds_vip
    assert facts.database is None
    assert facts.ahead is None
    assert not standby.discard(new)


def test_thrown_away_while_held_nothing_of_it_is_left(lab, standby, old, new):
    lab.frontends.seed(old, [new], timeout_s=60)
    lab.frontends.configure(new, server_id=NEW_ID, election_timeout_ms=TIMEOUT_MS)
    standby.begin(new, timeout_s=120)
    hold(standby, lab)
    assert standby.discard(new)
    facts = lab.frontends.facts(new)
    assert not facts.oned_active
    assert facts.oned_masked
    assert facts.database is None
    assert lab.sh(new, "nft list tables") == ""
    assert lab.sh(new, f"stat -c %a {VIP_SH}") == "755"
    assert lab.sh(new, "ls /var/lib/onebaton | grep -e held -e ahead", check=False) == ""
    assert lab.sh(new, "ls /etc/systemd/system/opennebula.service.d", check=False) == ""
    assert lab.sh(new, "mariadb -N -e 'SHOW DATABASES' | grep opennebula", check=False) == ""
    assert lab.sh(new, "ls /var/lock/one | grep one", check=False) == ""


def test_a_machine_that_is_not_reached_is_said_to_be_unknown(standby, old):
    gone = Host("gone", old.address.rsplit(".", 1)[0] + ".99")
    with pytest.raises(UnavailableError, match="gone"):
        standby.held_status(gone)
