"""The grammar of oned.conf, and merging without touching what is not ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebaton.adapters.onedconf import (
    ConfigSyntaxError,
    last,
    merge,
    parse,
    quote,
    set_attribute,
)

PACKAGED = """\
#***********************
# DB = [ BACKEND = "commented" ]
#***********************
LOG = [
  SYSTEM      = "file",   # where to
  DEBUG_LEVEL = 3
]

#MANAGER_TIMER = 15
SCRIPTS_REMOTE_DIR=/var/tmp/one

DB = [ BACKEND = "sqlite",
       TIMEOUT = 2500 ]

# DB = [ BACKEND = "mysql",
#        PASSWD  = "oneadmin" ]

VNC_PORTS = [
    START    = 5900,
    RESERVED = "32768:65536"
    # RESERVED = "6800, 6801"
]

PORT = 2633   # the API

federation = [
    Mode      = "STANDALONE",
    ZONE_ID   = 0,
    SERVER_ID = -1,
    MASTER_ONED = ""
]

VM_MAD = [ NAME = "kvm", ARGUMENTS = "-t 15 -r 0 kvm -l a=[b],c=#1" ]
VM_MAD = [ NAME = "dummy" ]
VM_RESTRICTED_ATTR = "CONTEXT/FILES"
VM_RESTRICTED_ATTR = "NIC/MAC"
EMPTY =
QUOTED = "a \\"word\\" over
two lines = [ # no comment"
"""

MANAGED = """\
DB = [
    BACKEND = "mysql",
    PASSWD  = "se,c]r#et"
]
PORT = 2634
FEDERATION = [ MODE = "STANDALONE", ZONE_ID = 3, SERVER_ID = 7, MASTER_ONED = "" ]
RAFT_LEADER_HOOK = [
    COMMAND = "raft/vip.sh",
    ARGUMENTS = "leader eth0 10.0.0.100/24"
]
"""


def test_all_shapes_are_read():
    statements = parse(PACKAGED, file="oned.conf")
    assert [statement.name for statement in statements] == [
        *("LOG", "SCRIPTS_REMOTE_DIR", "DB", "VNC_PORTS", "PORT", "FEDERATION"),
        *("VM_MAD", "VM_MAD", "VM_RESTRICTED_ATTR", "VM_RESTRICTED_ATTR", "EMPTY", "QUOTED"),
    ]
    values = {s.name: s.value.text for s in statements if s.value is not None}
    assert values["SCRIPTS_REMOTE_DIR"] == "/var/tmp/one"
    assert values["EMPTY"] == ""
    assert values["QUOTED"] == 'a "word" over\ntwo lines = [ # no comment'
    federation = last(statements, "FEDERATION")
    assert federation is not None
    assert federation.attribute("MODE") == "STANDALONE"
    assert federation.attribute("SERVER_ID") == "-1"
    mad = next(s for s in statements if s.name == "VM_MAD")
    assert mad.attribute("ARGUMENTS") == "-t 15 -r 0 kvm -l a=[b],c=#1"


def test_a_merge_replaces_what_is_managed_and_keeps_the_rest_to_the_byte():
    merged = merge(PACKAGED, MANAGED)
    before = {s.name: s for s in parse(PACKAGED, file="x")}
    after = parse(merged, file="x")
    database = last(after, "DB")
    assert database is not None
    assert database.attributes[0][1].text == "mysql"
    assert database.attribute("PASSWD") == "se,c]r#et"
    assert database.attribute("TIMEOUT") is None
    hook = last(after, "RAFT_LEADER_HOOK")
    assert hook is not None
    assert hook.attribute("ARGUMENTS") == "leader eth0 10.0.0.100/24"
    # Cutting the managed statements out of both leaves the same text.
    names = {"DB", "PORT", "FEDERATION", "RAFT_LEADER_HOOK"}

    def rest(text: str) -> str:
        for statement in reversed(parse(text, file="x")):
            if statement.name in names:
                text = text[: statement.start] + text[statement.end :]
        return text.strip()

    assert rest(merged) == rest(PACKAGED)
    assert "PORT = 2634   # the API" in merged
    assert before["QUOTED"].value is not None


def test_merging_twice_changes_nothing_more():
    once = merge(PACKAGED, MANAGED)
    assert merge(once, MANAGED) == once


def test_of_a_managed_name_that_stands_twice_one_is_left():
    merged = merge('PORT = 1\nLOG = [ A = 1 ]\nPORT = 2\nRAFT = [ X = "y" ]\n', "PORT = 3")
    assert [s.name for s in parse(merged, file="x")] == ["PORT", "LOG", "RAFT"]
    assert merged.startswith("PORT = 3\nLOG")


def test_what_is_not_managed_is_not_merged():
    with pytest.raises(ConfigSyntaxError, match="sets VM_MAD, which is not managed"):
        merge(PACKAGED, 'VM_MAD = [ NAME = "x" ]')


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("A = 1\nB\n", 2, "NAME = is missing"),
        ("A = [ B = 1\n C = 2 ]\n", 2, "a comma or ] is missing"),
        ('A = "no end\n', 1, "a value is missing"),
        ("A = [ B = 1,\n\n ", 3, "NAME = is missing"),
        ("A = [ B = 1, ]", 1, "NAME = is missing"),
        ("A = 1\n]\n", 2, "NAME = is missing"),
    ],
)
def test_what_oned_could_not_read_is_refused_with_its_line(text, line, reason):
    with pytest.raises(ConfigSyntaxError) as caught:
        parse(text, file="oned.conf")
    assert caught.value.message == f"oned.conf cannot be read at line {line}: {reason}"


@given(st.text(st.characters(exclude_characters="\0\\", exclude_categories=["Cs"])))
def test_any_value_that_can_be_written_comes_back(value):
    statements = parse(f'A = [ B = {quote(value)}, C = "d" ]\nE = 1', file="x")
    assert statements[0].attribute("B") == value
    assert statements[0].attribute("C") == "d"


@pytest.mark.parametrize("value", ["ends in \\", 'a\\"b', "in\\side", "\0"])
def test_a_value_that_cannot_be_written_is_refused_without_showing_it(value):
    with pytest.raises(ConfigSyntaxError) as caught:
        quote(value)
    assert value not in caught.value.message


MONITORD = (
    'DB = [ CONNECTIONS = 15 ]\n\nNETWORK = [\n    ADDRESS = "0.0.0.0",\n    {}PORT = 4124\n]\n'
)


@pytest.mark.parametrize(
    "text",
    [
        MONITORD.format('MONITOR_ADDRESS = "auto",\n    '),
        MONITORD.format(""),
        "NETWORK = [ ]\n",
        "DB = [ CONNECTIONS = 15 ]\n",
        "",
    ],
)
def test_an_attribute_is_set_wherever_it_stood(text):
    changed = set_attribute(text, "NETWORK", "MONITOR_ADDRESS", "10.0.0.100", file="m")
    before = parse(text, file="m")
    after = parse(changed, file="m")
    network = last(after, "NETWORK")
    assert network is not None
    assert dict(network.attributes)["MONITOR_ADDRESS"].text == "10.0.0.100"
    old = last(before, "NETWORK")
    others = [(k, v.text) for k, v in old.attributes if k != "MONITOR_ADDRESS"] if old else []
    assert [(k, v.text) for k, v in network.attributes if k != "MONITOR_ADDRESS"] == others
    assert set_attribute(changed, "NETWORK", "MONITOR_ADDRESS", "10.0.0.100", file="m") == changed
