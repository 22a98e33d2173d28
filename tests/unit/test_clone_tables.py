"""What becomes of each row of a copy before its first start, on bodies as recorded."""

import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebaton.adapters.bodyxml import edited, elements, selector
from onebaton.adapters.clonetables import (
    changes,
    digest,
    opens_something,
    scrubbing,
    secrets_of,
    stored,
    zone_body,
)
from onebaton.cloning import Identity, ScrubRule
from onebaton.model import Secret, Server

RECORDED = Path(__file__).parents[1] / "contract" / "recorded"
IDENTITY = Identity(
    zone_id=0,
    zone="cloud-try",
    server=Server(0, "cloud-try-a1", "http://10.9.0.3:2633/RPC2"),
    endpoint="http://10.9.0.2:2633/RPC2",
    user="oneadmin",
    password=Secret("new-password"),
)
TABLES = {change.table: change for change in changes(IDENTITY, "service-password")}


def recorded(method: str, version: str) -> bytes:
    """The body of an object as a real oned answered it."""
    calls = json.loads((RECORDED / f"opennebula-{version}.json").read_text())["calls"]
    answer = next(call["response"] for call in calls if call["method"] == method)
    return ET.fromstring(answer).find(".//string").text.encode()


def values(body: bytes, path: str) -> list[str]:
    return [element.text.decode() for element in elements(body) if element.path == path]


def test_the_recorded_oneadmin_gets_the_clones_password_and_keeps_all_else():
    before = recorded("one.user.info", "6.10.0")
    after = TABLES["user_pool"].body(0, before)
    assert values(after, "/USER/PASSWORD") == [stored("new-password")]
    assert values(after, "/USER/AUTH_DRIVER") == ["core"]
    (token,) = values(after, "/USER/TEMPLATE/TOKEN_PASSWORD")
    assert token
    for secret in secrets_of(before):
        assert secret not in after
    changed = {"PASSWORD", "TOKEN_PASSWORD"}
    kept = [(e.path, e.text) for e in elements(before) if e.name not in changed]
    assert [(e.path, e.text) for e in elements(after) if e.name not in changed] == kept


def user(driver: str = "core", more: str = "", name: str = "alice") -> bytes:
    return (
        f"<USER><ID>7</ID><NAME>{name}</NAME><PASSWORD><![CDATA[{stored('hers')}]]></PASSWORD>"
        f"<AUTH_DRIVER><![CDATA[{driver}]]></AUTH_DRIVER><ENABLED>1</ENABLED>"
        "<LOGIN_TOKEN><TOKEN>t0k3n</TOKEN><EXPIRATION_TIME>-1</EXPIRATION_TIME></LOGIN_TOKEN>"
        f"<TEMPLATE>{more}</TEMPLATE></USER>"
    ).encode()


@pytest.mark.parametrize("driver", ["core", "ldap", "x509", "ssh", "saml"])
def test_nobody_of_production_gets_in(driver):
    after = TABLES["user_pool"].body(7, user(driver))
    assert values(after, "/USER/AUTH_DRIVER") == ["core"]
    assert values(after, "/USER/PASSWORD") != [stored("hers")]
    assert "/USER/LOGIN_TOKEN" not in [e.path for e in elements(after)]
    # Two users do not share one.
    other = TABLES["user_pool"].body(8, user(driver))
    assert values(after, "/USER/PASSWORD") != values(other, "/USER/PASSWORD")


def test_services_log_in_by_their_own_driver_with_a_new_password():
    after = TABLES["user_pool"].body(1, user("server_cipher", name="serveradmin"))
    assert values(after, "/USER/PASSWORD") == [stored("service-password")]
    assert values(after, "/USER/AUTH_DRIVER") == ["server_cipher"]


def test_who_talks_to_oned_has_the_clones_password_whatever_their_id():
    made = changes(Identity(0, "z", IDENTITY.server, "http://v", "baton", Secret("p")), "s")
    after = made[0].body(9, user(name="baton"))
    assert values(after, "/USER/PASSWORD") == [stored("p")]


def test_keys_in_templates_are_taken_out_and_names_alike_elsewhere_stay():
    more = (
        "<TWO_FACTOR_AUTH_SECRET>x</TWO_FACTOR_AUTH_SECRET><SSH_PUBLIC_KEY>pub</SSH_PUBLIC_KEY>"
        "<EC2><SECRET_ACCESS_KEY>y</SECRET_ACCESS_KEY></EC2><EMAIL>a@b</EMAIL>"
    )
    after = TABLES["user_pool"].body(7, user(more=more))
    assert values(after, "/USER/TEMPLATE/TWO_FACTOR_AUTH_SECRET") == [""]
    assert values(after, "/USER/TEMPLATE/EC2/SECRET_ACCESS_KEY") == [""]
    assert values(after, "/USER/TEMPLATE/SSH_PUBLIC_KEY") == ["pub"]
    assert values(after, "/USER/TEMPLATE/EMAIL") == ["a@b"]
    assert not opens_something("/USER/PASSWORD")


@pytest.mark.parametrize("version", ["6.10.0", "7.0.2"])
def test_the_recorded_zone_lists_the_clones_first_server_alone(version):
    before = recorded("one.zone.info", version)
    after = zone_body(before, IDENTITY)
    assert values(after, "/ZONE/SERVER_POOL/SERVER/ENDPOINT") == [IDENTITY.server.endpoint]
    assert values(after, "/ZONE/SERVER_POOL/SERVER/ID") == ["0"]
    assert values(after, "/ZONE/NAME") == ["cloud-try"]
    assert values(after, "/ZONE/TEMPLATE/ENDPOINT") == [IDENTITY.endpoint]
    for host in values(before, "/ZONE/SERVER_POOL/SERVER/ENDPOINT"):
        assert host.encode() not in after
    assert zone_body(after, IDENTITY) == after


@pytest.mark.parametrize(
    ("table", "body", "path", "value"),
    [
        ("host_pool", "<HOST><STATE>2</STATE></HOST>", "/HOST/STATE", "4"),
        (
            "host_pool",
            "<HOST><VM_MAD><![CDATA[kvm]]></VM_MAD><TEMPLATE><VM_MAD>x</VM_MAD></TEMPLATE></HOST>",
            "/HOST/VM_MAD",
            "dummy",
        ),
        (
            "host_pool",
            "<HOST><TEMPLATE><VCENTER_PASSWORD>x</VCENTER_PASSWORD></TEMPLATE></HOST>",
            "/HOST/TEMPLATE/VCENTER_PASSWORD",
            "",
        ),
        ("datastore_pool", "<D><TM_MAD>ssh</TM_MAD></D>", "/D/TM_MAD", "dummy"),
        (
            "datastore_pool",
            "<D><TEMPLATE><BRIDGE_LIST>h1 h2</BRIDGE_LIST></TEMPLATE></D>",
            "/D/TEMPLATE/BRIDGE_LIST",
            "",
        ),
        (
            "marketplace_pool",
            "<MARKETPLACE><STATE>0</STATE></MARKETPLACE>",
            "/MARKETPLACE/STATE",
            "1",
        ),
        (
            "hook_pool",
            "<HOOK><TEMPLATE><COMMAND>mail.rb</COMMAND></TEMPLATE></HOOK>",
            "/HOOK/TEMPLATE/COMMAND",
            "/bin/true",
        ),
        (
            "schedaction_pool",
            "<SCHED_ACTION><TIME>1700000000</TIME></SCHED_ACTION>",
            "/SCHED_ACTION/TIME",
            "2147483647",
        ),
        (
            "backupjob_pool",
            "<BACKUPJOB><OUTDATED_VMS><ID>1</ID></OUTDATED_VMS></BACKUPJOB>",
            "/BACKUPJOB/OUTDATED_VMS",
            "",
        ),
    ],
)
def test_what_acts_outside_is_off_and_stays_off(table, body, path, value):
    change = TABLES[table]
    after = change.body(3, body.encode())
    assert values(after, path) == [value]
    # Read back, there is nothing more to change: that is how it is proved.
    assert change.body(3, after) == after


def test_rules_take_user_data_out_and_equal_texts_stay_equal():
    rules = [
        ScrubRule("user_pool", "/USER/NAME", "hash"),
        ScrubRule("user_pool", "//EMAIL", "replace", "user-{id}@example.org"),
        ScrubRule("vm_pool", "//UNAME", "hash"),
        ScrubRule("vm_pool", "/VM/TEMPLATE/CONTEXT", "blank"),
    ]
    scrub = scrubbing(rules, "key", "baton")
    after = scrub["user_pool"](7, user(more="<EMAIL>a@b</EMAIL>"))
    (name,) = values(after, "/USER/NAME")
    assert name == digest("key", b"alice")[:16]
    assert values(after, "/USER/TEMPLATE/EMAIL") == ["user-7@example.org"]
    machine = b"<VM><UNAME>alice</UNAME><TEMPLATE><CONTEXT><A>x</A></CONTEXT></TEMPLATE></VM>"
    machine = scrub["vm_pool"](3, machine)
    assert values(machine, "/VM/UNAME") == [name]
    assert values(machine, "/VM/TEMPLATE/CONTEXT") == [""]
    assert b"<A>" not in machine
    for kept in ("oneadmin", "serveradmin", "baton"):
        assert values(scrub["user_pool"](0, user(name=kept)), "/USER/NAME") == [kept]


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("/USER/NAME", "/USER/NAME", True),
        ("/USER/NAME", "/USER/TEMPLATE/NAME", False),
        ("//NAME", "/USER/TEMPLATE/NAME", True),
        ("//NAME", "/NAME", True),
        ("//NAME", "/USER/UNAME", False),
        ("/VM/*/EMAIL", "/VM/TEMPLATE/EMAIL", True),
        ("/VM/*/EMAIL", "/VM/A/B/EMAIL", False),
        ("/VM//EMAIL", "/VM/A/B/EMAIL", True),
    ],
)
def test_elements_are_named_by_their_path(pattern, path, meant):
    assert selector(pattern)(path) is meant


@pytest.mark.parametrize("pattern", ["", "NAME", "/", "/A/", "/A b", "///A", "/A[1]"])
def test_what_is_no_path_is_refused(pattern):
    with pytest.raises(ValueError, match="named by its path"):
        selector(pattern)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r", min_codepoint=32), max_size=20)


@given(TEXT.filter(lambda text: "]]>" not in text), TEXT)
def test_everything_else_stays_byte_for_byte(before, new):
    body = f"<A><B><![CDATA[{before}]]></B><C/><D> x </D></A>".encode()
    after = edited(body, [(selector("/A/C"), lambda _: new.encode())])
    assert values(after, "/A/C") == [new]
    assert after.startswith(body[: body.index(b"<C/>")])
    assert after.endswith(b"<D> x </D></A>")
    assert edited(body, []) == body


def test_a_body_that_is_no_xml_is_not_left_as_it_is():
    with pytest.raises(ValueError, match="no XML"):
        TABLES["user_pool"].body(7, b"<USER><NAME>x</USER>")


def test_a_digest_is_not_the_secrets_own():
    assert digest("a", b"x") != digest("b", b"x")
    assert hashlib.sha256(b"x").hexdigest() != digest("a", b"x")
