"""What a machine prints for the doctor, what is made of it, and what never leaves it."""

import base64
import hashlib
import subprocess
from dataclasses import replace

import pytest
from tests.fakes.clock import VirtualClock
from tests.fakes.examiner import FakeExaminer, sound
from tests.fakes.worlds import wanted, zone
from tests.fakes.zone import FakeServer, FakeZoneApi, Reach

from onebaton.adapters import examination, objectstates
from onebaton.errors import StepFailedError
from onebaton.examination import Reading, Transient
from onebaton.model import RaftState, Vip
from onebaton.rollout.checkup import check_up

VIP = Vip("10.0.0.100", 24, "eth0")
LEADER_HOOK = 'RAFT_LEADER_HOOK = [ COMMAND = "raft/vip.sh", ARGUMENTS = "leader eth0 1.2.3.4/8" ]'
NETWORK = 'NETWORK = [ ADDRESS = "0.0.0.0", MONITOR_ADDRESS = "10.0.0.100", PORT = 4124 ]'


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


LINES = {
    "raft": coded("RAFT = [ XMLRPC_TIMEOUT_MS = 0, LOG_RETENTION = 5 ]"),
    "hook_LEADER": coded(LEADER_HOOK),
    "executable_LEADER": "no",
    "hook_FOLLOWER": "",
    "network": coded(NETWORK),
    "digest_LOG": "abc",
    "digest_DB": "def",
    "interfaces": "eth0 lo ",
    "arping": "yes",
    "sudo": "yes",
    "addresses": "no",
    "left_cut": "a rule",
    "records": "17",
    "sizes": "49152\t868352",
    "time": "1000.500000000",
}


def parse(**changes: str | None):
    lines = {**LINES, **changes}
    output = "".join(f"{key}={value}\n" for key, value in lines.items() if value is not None)
    return examination.parse(output, place="n1", now=1000.0)


def test_what_is_made_of_an_answer():
    found = parse()
    assert found.clock_offset_s == 0.5
    assert (found.logdb_records, found.logdb_bytes, found.database_bytes) == (17, 49152, 868352)
    assert (found.xmlrpc_timeout_ms, found.broadcast_timeout_ms) == (0, None)
    leader, follower = found.hooks
    assert (leader.role, leader.command, leader.executable) == ("leader", "raft/vip.sh", False)
    assert leader.arguments == ("leader", "eth0", "1.2.3.4/8")
    assert (follower.role, follower.command) == ("follower", None)
    assert found.interfaces == {"eth0", "lo"}
    assert (found.has_arping, found.may_sudo, found.may_change_addresses) == (True, True, False)
    assert found.monitor_address == "10.0.0.100"
    assert found.config_digests == (("DB", "def"), ("LOG", "abc"))
    assert found.leftovers == ("a rule",)


def test_a_machine_without_database_and_configuration():
    nothing = dict.fromkeys(("records", "raft", "hook_LEADER", "network"), "")
    missing = dict.fromkeys(("executable_LEADER", "digest_LOG", "digest_DB", "left_cut"))
    found = parse(**nothing, **missing, sizes="0\t0")
    assert (found.logdb_records, found.logdb_bytes, found.database_bytes) == (None, None, None)
    assert [hook.command for hook in found.hooks] == [None, None]
    assert found.monitor_address is None
    assert found.config_digests == ()
    assert found.leftovers == ()


def test_a_hook_that_the_shell_did_not_understand_is_unknown():
    assert parse(executable_LEADER=None).hooks[0].executable is None


@pytest.mark.parametrize("key", ["raft", "sizes", "time", "arping"])
def test_an_answer_that_lacks_something_is_refused(key):
    with pytest.raises(StepFailedError) as caught:
        parse(**{key: None})
    assert "n1" in str(caught.value)


CONF = """\
# a comment with PASSWD = "not me"
LOG = [
  SYSTEM = "FILE",   # where to
  DEBUG_LEVEL = 3
]
DB = [ BACKEND = "mysql", PASSWD = "s3\\"cret]", DB_NAME = "opennebula" ]
FEDERATION = [ MODE = "STANDALONE", SERVER_ID = 0, ZONE_ID = 0 ]
RAFT = [
  ELECTION_TIMEOUT_MS = 5000,
  LOG_RETENTION = 250000
]
PORT = 2633
VM_MAD = [ NAME = "kvm" ]
VM_MAD = [ NAME = "lxc" ]
"""


def statements(conf: str, folder) -> dict[str, str]:
    """Digest of each statement, as the script makes it on a machine."""
    path = folder / "oned.conf"
    path.write_text(conf)
    script = examination.script(vip=VIP, database="opennebula", port=2633)
    begin = script.index("declare -A text")
    end = script.index('echo "interfaces=')
    done = subprocess.run(
        ["bash", "--norc", "-euo", "pipefail", "-c", f"conf={path}\n{script[begin:end]}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "s3" not in done.stdout
    pairs = (line.removeprefix("digest_").split("=") for line in done.stdout.splitlines())
    return dict(pairs)


def test_statements_are_digested_by_name(tmp_path):
    assert set(statements(CONF, tmp_path)) == {"LOG", "DB", "FEDERATION", "RAFT", "PORT", "VM_MAD"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SERVER_ID = 0", "SERVER_ID = 7"),
        ('"s3\\"cret]"', '"s3-other"'),
        ("ELECTION_TIMEOUT_MS = 5000", "ELECTION_TIMEOUT_MS = 1000"),
        ("# a comment", "# another comment"),
        ("# where to", "# elsewhere"),
        ("  DEBUG_LEVEL = 3", "\tDEBUG_LEVEL  =  3"),
    ],
)
def test_what_may_differ_between_machines_is_no_drift(old, new, tmp_path):
    assert old in CONF
    assert statements(CONF, tmp_path) == statements(CONF.replace(old, new), tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("DEBUG_LEVEL = 3", "DEBUG_LEVEL = 5", "LOG"),
        ('"opennebula" ]', '"other" ]', "DB"),
        ("250000", "1000", "RAFT"),
        ('"lxc"', '"qemu"', "VM_MAD"),
        ("PORT = 2633", "PORT = 2634", "PORT"),
        ('"STANDALONE"', '"MASTER"', "FEDERATION"),
    ],
)
def test_anything_else_is(old, new, name, tmp_path):
    one, other = statements(CONF, tmp_path), statements(CONF.replace(old, new), tmp_path)
    assert {key for key in one if one[key] != other[key]} == {name}


def test_the_digest_of_a_password_is_not_told(tmp_path):
    told = statements('DB = [ PASSWD = "s3" ]\n', tmp_path)
    for guess in ('DB = [ PASSWD = "s3" ]\n', "s3", '"s3"'):
        assert hashlib.sha256(guess.encode()).hexdigest()[:16] not in told.values()


@pytest.mark.parametrize(
    ("state", "lcm_state", "name"),
    [
        (3, 3, None),
        (3, 16, None),
        (3, 1, "PROLOG"),
        (3, 4, "MIGRATE"),
        (3, 37, None),
        (3, 44, None),
        (3, 99, "LCM_STATE 99"),
        (8, 0, None),
        (8, 1, None),
        (10, 0, "CLONING"),
        (11, 0, None),
    ],
)
def test_states_of_vms(state, lcm_state, name):
    assert objectstates.vm_state(state, lcm_state) == name


def test_the_names_are_those_of_the_vendors_own_library():
    from pyone import IMAGE_STATES, LCM_STATE, VM_STATE

    theirs = {one.value: one.name for one in LCM_STATE}
    ours = objectstates.LCM_STATES
    assert {n: name for n, name in ours.items() if n in theirs and theirs[n] != name} == {}
    # Those that it lists and no release of 6 or 7 gives any more.
    assert set(theirs) - set(ours) == {13, 14, 58}
    assert VM_STATE.CLONING.value == 10
    for state in IMAGE_STATES:
        told = objectstates.image_state(state.value)
        assert told in (None, state.name)
        assert (told is not None) == ("LOCKED" in state.name or state.name in ("CLONE", "DELETE"))


def living():
    """A zone of three as observed, and its API."""
    lab = zone(wanted(3))
    world = lab.observe()
    servers = [
        FakeServer(s.id, s.name, s.endpoint, term=lab.term, log_index=lab.index)
        for s in lab.servers
    ]
    servers[0].state = RaftState.LEADER
    return world, FakeZoneApi(*servers), servers


def test_a_checkup_asks_every_machine_once_and_every_server_again_after_the_window():
    world, api, servers = living()
    clock = VirtualClock(on_sleep=lambda _now: setattr(servers[1], "term", 9))
    examiner = FakeExaminer({"z-a1": sound(), "z-a2": sound()})
    servers[2].reach = Reach.REFUSES
    api.busy = [Transient("VM", 4, "v", "BOOT")]

    seen = check_up(api, examiner, world, clock=clock, window_s=6.0)

    assert examiner.calls == [("z-a1", "z-a2", "z-a3")]
    assert seen.examinations["z-a1"] == sound()
    assert seen.examinations["z-a3"] == "z-a3 does not answer over ssh"
    assert seen.readings == {0: Reading(3, (0, 1, 2)), 1: Reading(9, (0, 1, 2))}
    assert seen.transients is not None
    assert seen.transients.found == (Transient("VM", 4, "v", "BOOT"),)
    assert seen.window_s == 6.0


def test_the_window_begins_when_the_servers_were_asked_first():
    world, api, _ = living()
    clock = VirtualClock()
    world = replace(world, read_at=clock.monotonic() - 1.5)
    begin = clock.monotonic()
    seen = check_up(api, FakeExaminer({}), world, clock=clock, window_s=2.0)
    assert (seen.window_s, clock.monotonic() - begin) == (2.0, 0.5)


def test_a_checkup_changes_nothing():
    world, api, servers = living()
    before = [server.log_index for server in servers]
    check_up(api, FakeExaminer({}), world, clock=VirtualClock(), window_s=0.0)
    assert {method for method, _ in api.calls} == {"raft_status", "zone", "transients"}
    assert [server.log_index for server in servers] == before


def test_a_leader_that_does_not_list_its_pools_leaves_them_unknown():
    world, api, servers = living()
    servers[0].reach = Reach.REFUSES
    seen = check_up(api, FakeExaminer({}), world, clock=VirtualClock(), window_s=0.0)
    assert seen.transients is None
