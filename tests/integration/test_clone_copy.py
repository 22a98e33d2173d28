"""A copy of a zone changed, proved, and tampered with, in a real MariaDB."""

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.integration.mariadbd import SCHEMA, LocalDatabase, mariadb_servers

from onebaton.adapters import clonecopy, cloneproof, clonetables
from onebaton.cloning import Identity, Production, ScrubRule
from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import Secret, Server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("mariadbd") is None, reason="MariaDB's server is not here"),
]

OWNED = "uid INTEGER, gid INTEGER, owner_u INTEGER, group_u INTEGER, other_u INTEGER"
POOL = f"oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT, {OWNED}"
TABLES = f"""
CREATE TABLE zone_pool ({POOL}, UNIQUE(name));
CREATE TABLE host_pool (oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT,
  state INTEGER, {OWNED}, cid INTEGER);
CREATE TABLE hook_pool ({POOL}, type INTEGER);
CREATE TABLE hook_log (hkid INTEGER, exeid INTEGER, timestamp INTEGER, rc INTEGER,
  body MEDIUMTEXT, PRIMARY KEY(hkid, exeid));
CREATE TABLE schedaction_pool (oid INTEGER PRIMARY KEY, parent_id INTEGER, type VARCHAR(128),
  body MEDIUMTEXT, time INTEGER, done INTEGER);
CREATE TABLE history (vid INTEGER, seq INTEGER, body MEDIUMTEXT, stime INTEGER, etime INTEGER,
  PRIMARY KEY(vid, seq));
CREATE TABLE vm_pool (oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT, uid INTEGER,
  gid INTEGER, state INTEGER, lcm_state INTEGER, owner_u INTEGER, group_u INTEGER,
  other_u INTEGER, short_body MEDIUMTEXT, body_json JSON);
"""
MACHINES = 450
IDENTITY = Identity(
    zone_id=0,
    zone="cloud-try",
    server=Server(0, "cloud-try-a1", "http://10.9.0.3:2633/RPC2"),
    endpoint="http://10.9.0.2:2633/RPC2",
    user="oneadmin",
    password=Secret("new-password"),
)
ZONE = (
    "<ZONE><ID>0</ID><NAME>OpenNebula</NAME><STATE>1</STATE><TEMPLATE><ENDPOINT>"
    "<![CDATA[http://10.0.0.1:2633/RPC2]]></ENDPOINT></TEMPLATE><SERVER_POOL><SERVER><ENDPOINT>"
    "<![CDATA[http://10.0.0.11:2633/RPC2]]></ENDPOINT><ID><![CDATA[0]]></ID>"
    "<NAME><![CDATA[n1]]></NAME></SERVER></SERVER_POOL></ZONE>"
)
ALICE = clonetables.stored("hers")


def user(name: str, password: str, driver: str = "core") -> str:
    return (
        f"<USER><NAME>{name}</NAME><PASSWORD><![CDATA[{password}]]></PASSWORD><AUTH_DRIVER>"
        f"<![CDATA[{driver}]]></AUTH_DRIVER><LOGIN_TOKEN><TOKEN>t-{name}</TOKEN></LOGIN_TOKEN>"
        f"<TEMPLATE><NOTE><![CDATA[it''s \\\\ ä\n]]></NOTE></TEMPLATE></USER>"
    )


def machine(number: int) -> str:
    return (
        f"<VM><ID>{number}</ID><UNAME>alice</UNAME><HISTORY_RECORDS><HISTORY><VM_MAD>"
        "<![CDATA[kvm]]></VM_MAD><TM_MAD><![CDATA[ssh]]></TM_MAD></HISTORY></HISTORY_RECORDS>"
        "<TEMPLATE><CONTEXT><PASSWORD>x</PASSWORD></CONTEXT></TEMPLATE></VM>"
    )


def rows() -> str:
    machines = ", ".join(
        f"({n}, 'vm', '{machine(n)}', 7, 1, 3, 3, 1, 0, 0, '{machine(n)}', '{{\"a\": 1}}')"
        for n in range(MACHINES)
    )
    records = ", ".join(
        f"({n}, {seq}, '<HISTORY><VM_MAD><![CDATA[kvm]]></VM_MAD></HISTORY>', 1, 0)"
        for n in range(MACHINES)
        for seq in (0, 1)
    )
    other = ZONE.replace("<ID>0<", "<ID>104<").replace("OpenNebula", "other")
    return f"""
INSERT INTO zone_pool VALUES (0, 'OpenNebula', '{ZONE}', 0, 0, 1, 0, 0),
  (104, 'other', '{other}', 0, 0, 1, 0, 0);
INSERT INTO user_pool VALUES (0, 'oneadmin', '{user("oneadmin", "a1")}', 0, 0, 1, 0, 0),
  (1, 'serveradmin', '{user("serveradmin", "b2", "server_cipher")}', 1, 0, 1, 0, 0),
  (7, 'alice', '{user("alice", ALICE, "ldap")}', 7, 1, 1, 0, 0);
INSERT INTO host_pool VALUES (3, 'h1', '<HOST><ID>3</ID><NAME>host-1.example</NAME><STATE>2</STATE>
<IM_MAD><![CDATA[kvm]]></IM_MAD><VM_MAD><![CDATA[kvm]]></VM_MAD><TEMPLATE></TEMPLATE></HOST>',
  2, 0, 0, 1, 0, 0, 0);
INSERT INTO hook_pool VALUES (0, 'h', '<HOOK><TEMPLATE><COMMAND>mail</COMMAND></TEMPLATE></HOOK>',
  0, 0, 1, 0, 0, 1);
INSERT INTO hook_log VALUES (0, 0, 1, 0, '<HOOK_EXECUTION_RECORD/>');
INSERT INTO schedaction_pool VALUES (0, 1, 'VM', '<SCHED_ACTION><TIME>17</TIME></SCHED_ACTION>',
  17, -1);
INSERT INTO logdb VALUES (0, 0, '', 1, 18446744073709551615, 1), (1, 1, 'abc', 1, 1, 1);
INSERT INTO vm_pool VALUES {machines};
INSERT INTO history VALUES {records};
CREATE TRIGGER back AFTER UPDATE ON zone_pool FOR EACH ROW SET @back = 1;
"""  # noqa: S608 - nobody's but this test's


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalDatabase]:
    """A server with one database; each test fills it anew."""
    with mariadb_servers(tmp_path_factory.mktemp("m"), 1) as (socket,):
        yield LocalDatabase(socket, "copied", "the clone")


@pytest.fixture
def copied(database: LocalDatabase) -> LocalDatabase:
    """A copy of production's."""
    admin = replace(database, name="mysql")
    admin.change(
        "DROP DATABASE IF EXISTS copied; CREATE DATABASE copied CHARACTER SET utf8mb4",
        what="making",
        timeout_s=10,
    )
    database.change(f"{SCHEMA}\n{TABLES}\n{rows()}", what="filling", timeout_s=30)
    return database


def ask(database: LocalDatabase, statement: str) -> list[tuple[str, ...]]:
    return database.rows(statement, what="asking", timeout_s=10)


def changed(database: LocalDatabase, *rules: ScrubRule) -> Production:
    before = clonecopy.read_production(database, "key")
    clonecopy.change(database, IDENTITY, rules, service="service")
    return before


def problems(database: LocalDatabase, production: Production) -> list[str]:
    return [*cloneproof.still_production(database, IDENTITY, production)]


def test_a_copy_says_whom_it_must_not_meet(copied):
    found = clonecopy.read_production(copied, "key")
    assert found.endpoints == ("10.0.0.1", "10.0.0.11")
    assert found.hosts == ("host-1.example",)
    assert clonetables.digest("key", ALICE.encode()) in found.digests
    assert clonetables.digest("key", b"t-alice") in found.digests
    assert len(found.digests) == 6


def test_unchanged_it_is_refused_for_all_there_is(copied):
    production = clonecopy.read_production(copied, "key")
    found = "\n".join(problems(copied, production))
    for part in (
        "zone_pool names production's 10.0.0.11",
        "the server list of zone 0",
        "user 0 still has a secret of production (/USER/PASSWORD)",
        "user 7 still has a login token",
        "user 7 is let in by a driver",
        "host_pool: object 3",
        "hook_pool: object 0",
        f"vm_pool names a driver that is no dummy ({MACHINES} rows)",
        f"history names a driver that is no dummy ({2 * MACHINES} rows)",
        "logdb holds what production wrote (2 rows)",
        "system_attributes holds production's Raft state (1 row)",
        "the copy has triggers",
    ):
        assert part in found
    assert ALICE not in found


def test_changed_it_is_nobodys_but_its_own_and_all_else_is_there(copied):
    before = ask(copied, "SELECT oid, HEX(body) FROM user_pool")
    production = changed(copied)
    assert problems(copied, production) == []
    assert [*cloneproof.names_or_opens(copied, production)] == []
    assert clonecopy.first_user(copied) == "oneadmin"
    assert ask(copied, "SELECT oid, name FROM zone_pool") == [("0", "cloud-try")]
    ((password,),) = ask(
        copied, "SELECT EXTRACTVALUE(body, '/USER/PASSWORD') FROM user_pool WHERE oid = 0"
    )
    assert password == clonetables.stored("new-password")
    assert ask(copied, "SELECT COUNT(*) FROM vm_pool WHERE body LIKE '%<CONTEXT>%'") == [
        (str(MACHINES),)
    ]
    assert ask(copied, "SELECT state FROM host_pool") == [("4",)]
    assert ask(copied, "SELECT time FROM schedaction_pool") == [("2147483647",)]
    note = "<NOTE><![CDATA[it's \\ ä\n]]></NOTE>"
    for (_, was), (_, now) in zip(
        before, ask(copied, "SELECT oid, HEX(body) FROM user_pool"), strict=True
    ):
        assert note in bytes.fromhex(was).decode()
        assert note in bytes.fromhex(now).decode()


def test_rules_reach_every_row_and_the_columns_beside_the_body(copied):
    production = changed(
        copied,
        ScrubRule("user_pool", "/USER/NAME", "hash"),
        ScrubRule("vm_pool", "//UNAME", "replace", "nobody"),
        ScrubRule("vm_pool", "/VM/TEMPLATE/CONTEXT", "blank"),
    )
    assert problems(copied, production) == []
    for column in ("body", "short_body"):
        left = ask(
            copied,
            f"SELECT COUNT(*) FROM vm_pool WHERE {column} LIKE '%alice%' "  # noqa: S608
            f"OR {column} LIKE '%<PASSWORD>%'",
        )
        assert left == [("0",)]
    assert ask(copied, "SELECT DISTINCT body_json FROM vm_pool") == [("{}",)]
    names = [name for (name,) in ask(copied, "SELECT name FROM user_pool ORDER BY oid")]
    assert names[:2] == ["oneadmin", "serveradmin"]
    assert names[2] != "alice"
    assert ask(copied, "SELECT EXTRACTVALUE(body, '/USER/NAME') FROM user_pool WHERE oid = 7") == [
        (names[2],)
    ]


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "UPDATE zone_pool SET body = REPLACE(body, '10.9.0.2', '10.0.0.11')",
            "zone_pool names production's 10.0.0.11 (zone 0)",
        ),
        (
            "UPDATE user_pool SET body = REPLACE(body, '<NOTE>', "  # noqa: S608
            f"'<X>{ALICE}</X><NOTE>') WHERE oid = 1",
            "user 1 still has a secret of production (/USER/TEMPLATE/X)",
        ),
        (
            "UPDATE history SET body = REPLACE(body, 'dummy', 'kvm') WHERE vid = 9 AND seq = 1",
            "history names a driver that is no dummy (1 row)",
        ),
        (
            "UPDATE host_pool SET state = 2",
            "host_pool has another state (1 row)",
        ),
        (
            "INSERT INTO logdb VALUES (1, 1, 'abc', 1, 1, 1)",
            "logdb holds what production wrote (1 row)",
        ),
    ],
)
def test_what_was_put_back_is_found(copied, statement, problem):
    production = changed(copied)
    copied.change(statement, what="tampering", timeout_s=10)
    assert problems(copied, production) == [problem]


def test_an_address_is_not_found_in_a_longer_one(copied):
    production = replace(changed(copied), endpoints=("10.9.0", "0.9.0.3", "9.0.3", "10.9.0.33"))
    assert problems(copied, production) == []


def test_a_body_that_cannot_be_read_is_named_and_a_table_that_is_not_there(copied):
    with pytest.raises(RefusedError, match="does not have: cat_pool"):
        changed(copied, ScrubRule("cat_pool", "//A", "blank"))
    copied.change("UPDATE user_pool SET body = '<USER>' WHERE oid = 7", what="x", timeout_s=10)
    with pytest.raises(StepFailedError, match="object 7 of user_pool cannot be read"):
        changed(copied)
