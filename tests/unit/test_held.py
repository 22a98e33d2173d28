"""What is held on a node, and how it is asked there."""

import pytest

from onebaton.adapters import holdscripts, standby
from onebaton.adapters.deadline_http import NoAnswerError
from onebaton.adapters.nodedoor import body_of
from onebaton.errors import StepFailedError
from onebaton.model import Host

NODE = Host("n4", "10.0.0.14")
CONF = """FEDERATION = [ MODE = "STANDALONE", ZONE_ID = 0, SERVER_ID = 4, MASTER_ONED = "" ]
RAFT = [ ELECTION_TIMEOUT_MS = 1000 ]
RAFT_LEADER_HOOK = [ COMMAND = "raft/vip.sh", ARGUMENTS = "leader eth0 10.0.0.100/24" ]
RAFT_FOLLOWER_HOOK = [ COMMAND = "/opt/own hook.sh", ARGUMENTS = "follower" ]
"""
SEEN = {
    "ActiveState": "active",
    "UnitFileState": "disabled",
    "held": "token",
    "instance": "ab" * 16,
    "held_instance": "ab" * 16,
    "listening": "1",
    "fence": "yes",
    "bound": "yes",
    "lock": "no",
    "vip": "no",
    "armed": "no",
}


def test_a_node_that_holds_what_it_should():
    assert standby.is_held(SEEN, "token")


@pytest.mark.parametrize(
    "change",
    [
        {"ActiveState": "activating"},
        {"ActiveState": "failed"},
        {"UnitFileState": "enabled"},
        {"UnitFileState": "enabled-runtime"},
        {"held": ""},
        {"held": "another"},
        {"held_instance": ""},
        {"held_instance": "cd" * 16},
        {"instance": "", "held_instance": ""},
        {"listening": "0"},
        {"fence": "no"},
        {"bound": "no"},
        {"lock": "yes"},
        {"vip": "yes"},
        {"armed": "yes"},
    ],
    ids=str,
)
def test_a_single_thing_amiss_and_it_is_held_anew(change):
    assert not standby.is_held({**SEEN, **change}, "token")


def test_hooks_are_disarmed_wherever_they_may_be_looked_for():
    assert standby.hooks_in(CONF, NODE, 4, 1000) == (
        "/var/lib/one/remotes/hooks/raft/vip.sh",
        "/var/lib/one/remotes/raft/vip.sh",
        "/opt/own hook.sh",
    )


def test_a_hook_named_twice_is_disarmed_twice():
    conf = CONF + 'RAFT_LEADER_HOOK = [ COMMAND = "/later.sh" ]\n'
    assert {"/later.sh", "/var/lib/one/remotes/hooks/raft/vip.sh"} <= set(
        standby.hooks_in(conf, NODE, 4, 1000)
    )


@pytest.mark.parametrize(("server_id", "timeout_ms"), [(3, 1000), (4, 5000)])
def test_only_the_configuration_that_is_meant_is_held(server_id, timeout_ms):
    with pytest.raises(StepFailedError, match=r"oned\.conf of n4 is not the one") as caught:
        standby.hooks_in(CONF, NODE, server_id, timeout_ms)
    assert any("instead of" in line for line in caught.value.details)


def test_without_a_configuration_nothing_is_held():
    with pytest.raises(StepFailedError, match="is not the one"):
        standby.hooks_in("", NODE, 4, 1000)


def test_the_unit_cannot_start_without_its_fence():
    script = holdscripts.prepare_script(token="t", hooks=["/a b"], vip="10.0.0.100")
    before, _, after = script.partition("kill_oned; fi")
    # What keeps systemd from reviving it comes before what it would revive is killed.
    assert "Restart=no" in before
    assert f"list table inet {holdscripts.FENCE}" in before
    assert "chmod a-x" in after
    assert "'/a b'" in after


def test_an_answer_is_taken_only_whole():
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    assert body_of(whole) == b"hello"
    for broken in (b"", b"nonsense", whole[:-1], whole.replace(b"200 OK", b"500 No")):
        with pytest.raises(NoAnswerError):
            body_of(broken)
