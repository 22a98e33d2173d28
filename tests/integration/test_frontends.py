"""Front-ends on real machines: two containers with systemd, sshd, MariaDB and oned.

The tests go down one road, from bare machines to a leader that is cut off, and each begins
where the one before it ended.
"""
# ruff: noqa: S608 - statements of the tests' own

import base64
import threading
import time
from collections.abc import Iterator

import pytest
from tests.integration.frontend_lab import (
    PASSWORD,
    VERSION,
    Lab,
    endpoint,
    found_zone,
    front_ends,
    wait_for,
)

from onebaton.adapters import nodefacts
from onebaton.adapters.process import ProgramError
from onebaton.errors import RefusedError, StepFailedError, UnavailableError
from onebaton.model import Host, Schema, Secret

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with front_ends(tmp_path_factory.mktemp("fe"), 2) as lab:
        yield lab


@pytest.fixture
def one(lab: Lab) -> Host:
    return lab.hosts[0]


@pytest.fixture
def two(lab: Lab) -> Host:
    return lab.hosts[1]


def test_machines_become_ready_and_say_what_they_are(lab, one, two):
    for host in (one, two):
        lab.frontends.wait_ready(host, timeout_s=60)
    gone = Host("gone", one.address.rsplit(".", 1)[0] + ".99")
    facts = lab.frontends.facts_of([one, two, gone])
    assert facts[one.name].package_version.startswith(VERSION)
    assert facts[one.name].database is None
    assert facts[one.name].schema is None
    assert not facts[one.name].oned_active
    assert not facts[one.name].oned_enabled
    assert not facts[one.name].oned_masked
    assert not facts[one.name].holds_vip
    assert facts[one.name].known_servers == frozenset()
    assert facts[one.name].disk_free_bytes > 1_000_000
    assert "does not answer over ssh" in facts["gone"]


def test_a_new_zone_is_founded(lab, one):
    found_zone(lab, one)
    facts = lab.frontends.facts(one)
    assert facts.oned_active
    assert facts.oned_enabled
    assert facts.server_id == 0
    assert facts.election_timeout_ms == 1000
    assert facts.known_servers == {0}
    assert facts.schema == Schema("6.10.0", "6.10.0")
    assert facts.database.last_applied >= 0
    wait_for(lambda: lab.frontends.facts(one).holds_vip, "the leader to hold the VIP")


def test_its_configuration_is_ours_and_the_rest_the_packages(lab, one):
    modes = lab.sh(one, "cd /etc/one; stat -c '%U:%G %a %n' oned.conf monitord.conf; ls")
    assert "root:oneadmin 640 oned.conf" in modes
    assert "root:oneadmin 640 monitord.conf" in modes
    assert "oned.conf.onebaton-dist" in modes
    changed = lab.sh(one, "cd /etc/one; diff oned.conf.onebaton-dist oned.conf", check=False)
    removed = [line for line in changed.splitlines() if line.startswith("<")]
    assert removed
    assert not any("MAD" in line or "LOG " in line for line in removed)
    assert lab.vip.address in lab.sh(one, "grep MONITOR_ADDRESS /etc/one/monitord.conf")


def test_no_password_leaves_with_the_facts(lab, one):
    password = lab.sh(one, "cat /var/lib/onebaton/db-password")
    assert len(password) >= 32
    assert lab.sh(one, f"grep -c '{password}' /etc/one/oned.conf") == "1"
    script = nodefacts.script(vip=lab.vip.address, database="opennebula")
    said = lab.ssh.run(one, script, timeout_s=20, what="looking").stdout
    config = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)["config"]
    assert password not in said
    assert password not in base64.b64decode(config).decode()
    assert "ELECTION_TIMEOUT_MS" in base64.b64decode(config).decode()


def test_a_password_once_made_is_kept(lab, two):
    lab.frontends.configure(two, server_id=1, election_timeout_ms=5000)
    first = lab.sh(two, "cat /var/lib/onebaton/db-password")
    lab.frontends.configure(two, server_id=2, election_timeout_ms=6000)
    assert lab.sh(two, "cat /var/lib/onebaton/db-password") == first
    facts = lab.frontends.facts(two)
    assert (facts.server_id, facts.election_timeout_ms) == (2, 6000)
    # Known servers are what the next start learns, and there was none.
    assert facts.known_servers == frozenset()


def test_what_must_not_be_touched_is_refused(lab, one):
    with pytest.raises(RefusedError, match="has a database 'opennebula' with tables"):
        lab.frontends.create_database(one)
    with pytest.raises(RefusedError, match="oned runs on"):
        lab.frontends.seed(one, [one], timeout_s=30)


def test_secrets_arrive_and_the_old_ones_are_kept_aside(lab, one, two):
    before = lab.frontends.facts(two).secret_digest
    lab.sh(one, "echo extra > /var/lib/one/.one/sunstone_auth")
    lab.frontends.copy_secrets(one, [two])
    ours, theirs = (lab.frontends.facts(host).secret_digest for host in (one, two))
    assert ours == theirs != before
    assert lab.sh(two, "cat /var/lib/one/.one/one_auth") == f"oneadmin:{PASSWORD}"
    modes = lab.sh(two, "cd /var/lib/one; stat -c '%U:%G %a' .one .one/one_auth .one/sunstone_auth")
    assert modes.split("\n") == ["oneadmin:oneadmin 700", *["oneadmin:oneadmin 600"] * 2]
    if before is not None:
        assert lab.sh(two, "stat -c %a /var/lib/one/.onebaton-aside/.one") == "700"
    lab.frontends.copy_secrets(one, [two])


def test_a_new_zone_has_a_way_to_its_hypervisors(lab, one, two):
    # No image holds what the packages made.
    lab.sh(one, "rm -r /var/lib/one/.ssh; mkdir -p /usr/share/one/ssh")
    lab.sh(one, "echo 'StrictHostKeyChecking accept-new' > /usr/share/one/ssh/config")
    lab.frontends.set_password(one, "oneadmin", Secret(PASSWORD))
    look = (
        "cd /var/lib/one/.ssh; stat -c '%U %a %n' id_rsa config; ssh-keygen -l -f id_rsa; "
        "cat authorized_keys"
    )
    made = lab.sh(one, look)
    assert made.startswith("oneadmin 600 id_rsa\noneadmin 600 config\n3072 ")
    lab.frontends.set_password(one, "oneadmin", Secret(PASSWORD))
    assert lab.sh(one, look) == made
    lab.frontends.copy_secrets(one, [two])
    login = f"runuser -u oneadmin -- ssh -n -o BatchMode=yes {one.address} id -un"
    assert lab.sh(two, login) == "oneadmin"


@pytest.mark.parametrize("status", [0, 1])
def test_a_dump_that_breaks_off_is_not_accepted(lab, one, two, status):
    # Before the real program in PATH: half a dump, with and without an error.
    lab.sh(
        one,
        "printf '#!/bin/sh\\necho \"CREATE TABLE t (a INT);\"\\nexit %s\\n' "
        f"{status} > /usr/local/sbin/mariadb-dump; chmod 755 /usr/local/sbin/mariadb-dump",
    )
    try:
        with pytest.raises(StepFailedError, match="could not be seeded") as caught:
            lab.frontends.seed(one, [two], timeout_s=30)
        assert f"{two.name}: the dump broke off" in caught.value.details[0]
        assert len(caught.value.details) == 1 + status
    finally:
        lab.sh(one, "rm /usr/local/sbin/mariadb-dump")
    assert lab.frontends.facts(two).database is None
    assert lab.sh(two, "ls /var/lib/onebaton/seed.json", check=False) == ""


def test_one_lost_target_does_not_keep_the_other_from_being_seeded(lab, one, two):
    gone = Host("gone", two.address.rsplit(".", 1)[0] + ".99")
    with pytest.raises(UnavailableError, match="gone"):
        lab.frontends.seed(one, [gone, two], timeout_s=30)
    # Found out before anything was changed.
    assert lab.frontends.facts(two).database is None


def test_a_node_joins_while_the_zone_writes_and_nothing_is_lost(lab, one, two):
    fe = lab.frontends
    acknowledged: list[int] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            acknowledged.append(lab.write(one, f"d{len(acknowledged)}"))
            time.sleep(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.5)
        fe.seed(one, [two], timeout_s=60)
        assert '"last_applied": ' in lab.sh(two, "cat /var/lib/onebaton/seed.json")
        assert any("MiB sent" in text for text in lab.reporter.waits)
        time.sleep(0.3)
        assert fe.ship_log(one, two) > 0
        position, ours = fe.table_checksums(one)
        fe.ship_log(one, two, up_to=position.last_applied)
        reached, theirs = fe.table_checksums(two)
        assert reached.last_applied == position.last_applied
        assert ours == theirs
        assert "document_pool" in ours
        server = f'SERVER=[NAME="{two.name}",ENDPOINT="{endpoint(two)}"]'
        assert lab.call(one, "one.zone.addserver", 0, server)[0]
        fe.configure(two, server_id=1, election_timeout_ms=5000, server_ids=[0, 1])
        fe.ship_log(one, two)
        # Another machine had this address, and the leader has spoken to it.
        another = f"{two.address} dev eth0 lladdr 02:00:00:00:00:01"
        lab.sh(one, f"ip neighbour replace {another} nud reachable")
        fe.start(two, timeout_s=60)
        assert "02:00:00:00:00:01" not in lab.sh(one, f"ip neighbour show {two.address}")
        wait_for(lambda: lab.raft(two)["STATE"] == 2, "the new node to follow")
        time.sleep(0.5)
        (here, ours), (there, theirs) = fe.checksums_at_equal_index(one, two)
        assert here.last_applied == there.last_applied
        assert ours == theirs
    finally:
        stop.set()
        writer.join()
    wait_for(lambda: lab.raft(two)["LOG_INDEX"] == lab.raft(one)["LOG_INDEX"], "the same log")
    facts = fe.facts(two)
    assert facts.known_servers == {0, 1}
    assert facts.server_id == 1
    held = lab.sh(two, "mariadb -N opennebula -e 'SELECT oid FROM document_pool'").split()
    assert {str(oid) for oid in acknowledged[:-1]} <= set(held)
    assert len(acknowledged) > 20


def test_stop_with_a_mask_lasts_and_start_takes_it_back(lab, two):
    fe = lab.frontends
    fe.stop(two, mask=True, timeout_s=60)
    facts = fe.facts(two)
    assert facts.oned_masked
    assert not facts.oned_active
    assert "masked" in lab.sh(two, "systemctl start opennebula 2>&1", check=False)
    fe.stop(two, mask=True, timeout_s=60)
    fe.start(two, timeout_s=60)
    facts = fe.facts(two)
    assert facts.oned_active
    assert facts.oned_enabled
    assert not facts.oned_masked
    fe.start(two, timeout_s=60)


def test_who_does_not_reach_whom_is_seen(lab, one, two):
    fe = lab.frontends
    gone = Host("gone", one.address.rsplit(".", 1)[0] + ".99")
    assert fe.unreached(one, [two, gone]) == ("gone",)
    lab.sh(
        two,
        "nft 'add table inet fault;"
        " add chain inet fault input { type filter hook input priority 0; };"
        f" add rule inet fault input ip saddr {one.address} tcp dport 2633 drop'",
    )
    assert fe.unreached(one, [two]) == (two.name,)
    assert fe.unreached(two, [one]) == ()
    lab.sh(two, "nft delete table inet fault")
    # A machine that refuses is there, and one that had its address before is forgotten.
    fe.stop(two, mask=False, timeout_s=60)
    another = f"{two.address} dev eth0 lladdr 02:00:00:00:00:01"
    lab.sh(one, f"ip neighbour replace {another} nud reachable")
    assert fe.unreached(two, [one]) == ()
    assert fe.unreached(one, [two]) == ()
    fe.start(two, timeout_s=60)


def test_the_web_services_of_a_node_start_with_its_oned(lab, two):
    unit = "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"
    names = ("opennebula-fireedge", "opennebula-sunstone")
    for name in names:
        lab.sh(two, f"printf '{unit}' > /lib/systemd/system/{name}.service")
    lab.sh(two, "systemctl daemon-reload; systemctl enable opennebula-fireedge")
    lab.frontends.stop(two, mask=False, timeout_s=60)
    lab.frontends.start(two, timeout_s=60)
    states = [lab.sh(two, f"systemctl is-active {name}", check=False) for name in names]
    assert states == ["active", "inactive"]
    lab.sh(two, "systemctl disable --now opennebula-fireedge; rm /lib/systemd/system/*sunstone*")
    lab.sh(two, "rm /lib/systemd/system/opennebula-fireedge.service; systemctl daemon-reload")


def test_an_oned_that_does_not_stop_kindly_is_killed(lab, two):
    lab.sh(two, "pid=$(systemctl show -p MainPID --value opennebula); kill -STOP $pid")
    started = time.monotonic()
    lab.frontends.stop(two, mask=False, timeout_s=4)
    # A kind stop of a process that hears nothing would take systemd's 180 s.
    assert time.monotonic() - started < 30
    assert not lab.frontends.facts(two).oned_active
    assert lab.sh(two, "ls /var/lock/one/one", check=False) == ""


def test_a_unit_of_the_administrators_own_is_kept_from_starting_too(lab, two):
    fe = lab.frontends
    lab.sh(two, "cp /lib/systemd/system/opennebula.service /etc/systemd/system/")
    lab.sh(two, "systemctl daemon-reload")
    fe.stop(two, mask=True, timeout_s=60)
    assert fe.facts(two).oned_masked
    lab.sh(two, "systemctl start opennebula", check=False)
    assert not fe.facts(two).oned_active
    # The file is still the administrator's.
    assert "ExecStart" in lab.sh(two, "cat /etc/systemd/system/opennebula.service")
    fe.start(two, timeout_s=60)
    facts = fe.facts(two)
    assert facts.oned_active
    assert not facts.oned_masked
    fe.stop(two, mask=False, timeout_s=60)
    lab.sh(two, "rm /etc/systemd/system/opennebula.service; systemctl daemon-reload")


def test_a_start_that_fails_tells_why_without_secrets(lab, two):
    lab.sh(two, "mariadb opennebula -e \"UPDATE local_db_versioning SET version = '5.0.0'\"")
    with pytest.raises(StepFailedError, match="ended instead of starting") as caught:
        lab.frontends.start(two, timeout_s=60)
    told = "\n".join(caught.value.details)
    assert "Database version mismatch" in told
    assert "cut-over" in str(caught.value.resolution)
    assert lab.sh(two, "cat /var/lib/onebaton/db-password") not in told
    # It is not tried again behind our back.
    wait_for(lambda: not lab.frontends.facts(two).oned_active, "the failed start to be over")
    lab.sh(two, "mariadb opennebula -e \"UPDATE local_db_versioning SET version = '6.10.0'\"")


def test_a_log_that_was_purged_asks_for_a_new_seed(lab, one, two):
    fe = lab.frontends
    at = fe.log_position(two).last_applied
    lab.sh(two, f"mariadb opennebula -e 'DELETE FROM logdb WHERE log_index > {at - 5}'")
    lab.sh(one, f"mariadb opennebula -e 'DELETE FROM logdb WHERE log_index < {at - 2}'")
    with pytest.raises(RefusedError, match="fell out of the log window"):
        fe.ship_log(one, two)


def test_a_leader_is_cut_off_at_once_and_for_good(lab, one, two):
    fe = lab.frontends
    assert fe.facts(one).oned_active
    lab.sh(one, f"ip address add {lab.vip.cidr} dev eth0", check=False)
    cutting = threading.Thread(target=fe.cut_off_leader, args=(one,), kwargs={"drain_s": 1.5})
    cutting.start()
    # While what is in flight ends: nobody new from outside, though oned still listens.
    connect = f"(exec 3<>/dev/tcp/{one.address}/2633) 2>/dev/null && echo yes || echo no"
    seen = set()
    while cutting.is_alive():
        seen.add((lab.sh(two, connect), lab.sh(one, connect)))
    cutting.join()
    assert ("no", "yes") in seen
    facts = fe.facts(one)
    assert not facts.oned_active
    assert facts.oned_masked
    assert not facts.holds_vip
    assert lab.sh(one, "ls /var/lock/one/one", check=False) == ""
    assert "onebaton" not in lab.sh(one, "nft list tables")
    assert lab.sh(two, connect) == "no"
    # RestartSec is 5 s: nothing revives it.
    time.sleep(5.5)
    assert not fe.facts(one).oned_active
    fe.cut_off_leader(one, drain_s=0.0)
    fe.start(one, timeout_s=60)
    wait_for(lambda: "STATE" in lab.raft(one), "the server to answer again")


def test_another_user_works_through_sudo(lab, two):
    lab.sh(
        two,
        "useradd -m ops; mkdir -p -m 700 ~ops/.ssh; cp ~root/.ssh/authorized_keys ~ops/.ssh/; "
        "chown -R ops: ~ops/.ssh; echo 'ops ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ops",
    )
    with lab.as_user("ops") as ssh:
        done = ssh.run(two, "id -u; cat", stdin="secret", timeout_s=20, what="asking")
        assert done.stdout == "0\nsecret"
        with pytest.raises(ProgramError) as caught:
            ssh.run(two, "echo why >&2; exit 3", stdin="hunter2", timeout_s=20, what="failing")
    shown = "\n".join([caught.value.message, *caught.value.details])
    assert "why" in shown
    assert "ops@" in shown
    assert "hunter2" not in shown


def test_a_changed_host_key_is_refused_but_a_new_machine_is_not(lab, two):
    known = lab.folder / "known_hosts"
    before = known.read_text()
    with lab.as_user("root") as ssh:
        first = Host(two.name, two.address, "first")
        ssh.run(first, "true", timeout_s=20, what="meeting")
    lab.sh(two, "rm /etc/ssh/ssh_host_*; ssh-keygen -A; systemctl restart ssh")
    with lab.as_user("root") as ssh:
        with pytest.raises(RefusedError, match="another ssh host key than before") as caught:
            ssh.run(first, "true", timeout_s=20, what="meeting again")
        assert str(known) in "".join(caught.value.details)
        ssh.run(Host(two.name, two.address, "second"), "true", timeout_s=20, what="meeting")
    assert before in known.read_text()


def test_a_password_of_several_lines_is_refused(lab, two):
    with pytest.raises(RefusedError, match="several lines"):
        lab.frontends.set_password(two, "oneadmin", Secret("a\nb"))
