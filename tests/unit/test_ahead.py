"""Names, statements and texts of a copy migrated ahead."""

import pytest

from onebaton.adapters import aheadproof, aheadrows, aheadsql, zonelist
from onebaton.adapters.aheadcopy import _can_skip
from onebaton.adapters.aheadsql import Column, Table
from onebaton.adapters.tablesums import OWN_ATTRIBUTE
from onebaton.migration import Contents
from onebaton.model import Server

OWN = Server(7, "n7", "http://10.0.0.7:2633/RPC2")
BODY = (
    "<ZONE><ID>0</ID><NAME>grün</NAME><STATE>1</STATE><TEMPLATE>"
    "<NOTE><![CDATA[<STATE>5</STATE><SERVER_POOL></SERVER_POOL>]]></NOTE></TEMPLATE>"
    "<SERVER_POOL><SERVER><ID><![CDATA[0]]></ID></SERVER></SERVER_POOL><MORE/></ZONE>"
).encode()


def _table(name: str, *columns: str, key: tuple[str, ...] = ()) -> Table:
    return Table(name, tuple(Column(column, "int(11)", True, False) for column in columns), key)


@pytest.mark.parametrize(
    "database", ["opennebula", "x" * 64, "x" * 59 + "_warm", "x" * 58 + "_batch", "one_ahead"]
)
def test_all_databases_have_names_of_their_own(database):
    one, two = aheadsql.standby_names(database), aheadsql.proof_names(database)
    for names in (one, two):
        found = [names.warm, names.migrated, names.notes, names.batch]
        assert database in found
        assert len(set(found)) == 4
        assert all(len(name) <= 64 for name in found)
    assert one.migrated == two.warm == database


def test_names_of_triggers_are_short_and_differ():
    names = {
        aheadsql.trigger_name("x" * length, event)
        for length in (63, 64)
        for event in ("insert", "update", "delete")
    }
    assert len(names) == 6
    assert all(len(name) <= 64 for name in names)


def test_all_rows_go_before_any_comes():
    names = aheadsql.standby_names("one")
    tables = [_table("a", "x", "y", key=("x",)), _table("b", "x", key=("x",))]
    words = [statement.split()[0] for statement in aheadsql.put_sql(names, tables, "src")]
    assert words == ["DELETE", "DELETE", "INSERT", "INSERT"]


def test_a_servers_own_term_is_neither_taken_away_nor_brought():
    names = aheadsql.standby_names("one")
    attributes = _table("system_attributes", "name", "body", key=("name",))
    statements = aheadsql.put_sql(names, [attributes], "src")
    assert len(statements) == 2
    assert all(f"<> '{OWN_ATTRIBUTE}'" in statement for statement in statements)


def test_columns_that_are_made_are_not_inserted():
    made = Table(
        "a", (Column("x", "int", False, False), Column("z", "int", True, True)), key=("x",)
    )
    *_, insert = aheadsql.put_sql(aheadsql.standby_names("one"), [made], "src")
    assert "`x`" in insert
    assert "`z`" not in insert


def test_a_key_of_parts_of_columns_is_none():
    rows = [
        ("t", "one", "a", "", "", "", ""),
        ("t", "one", "b", "", "", "", ""),
        ("c", "one", "a", "x", "int(11)", "NO", ""),
        ("c", "one", "a", "y", "mediumtext", "YES", ""),
        ("c", "one", "b", "x", "text", "NO", ""),
        ("c", "one", "view", "x", "text", "NO", ""),
        ("k", "one", "a", "x", "", "", ""),
        ("k", "one", "b", "x", "10", "", ""),
    ]
    found = aheadsql.looked(rows, ["one"])["one"]
    assert found.keys() == {"a", "b"}
    assert found["a"].key == ("x",)
    assert found["a"].names == ("x", "y")
    assert found["b"].key == ()


def test_the_migrator_is_left_out_only_where_nothing_is_made_of_the_rows():
    logdb, cluster, vm = (_table(name, "x", key=("x",)) for name in ("logdb", "cluster", "vm"))
    whole, alone = {"cluster"}, {"logdb", "cluster"}
    assert _can_skip([logdb], alone, whole, has_new=True)
    assert _can_skip([logdb, cluster], alone, whole, has_new=False)
    assert not _can_skip([logdb, cluster], alone, whole, has_new=True)
    assert not _can_skip([logdb, vm], alone, whole, has_new=False)


def test_a_list_alone_enables_the_zone_and_leaves_the_rest():
    body = zonelist.with_servers(BODY, [OWN], enabled=True)
    assert body == (
        BODY.replace(b"<STATE>1<", b"<STATE>0<").replace(
            b"<SERVER><ID><![CDATA[0]]></ID></SERVER>",
            b"<SERVER><ENDPOINT><![CDATA[http://10.0.0.7:2633/RPC2]]></ENDPOINT>"
            b"<ID><![CDATA[7]]></ID><NAME><![CDATA[n7]]></NAME></SERVER>",
        )
    )
    assert zonelist.with_servers(body, [], enabled=False).count(b"<SERVER>") == 0


def test_a_held_list_has_a_majority_that_is_not_there():
    servers = zonelist.held(OWN)
    assert [server.id for server in servers] == [7, 1007, 1008]
    assert {server.address for server in servers[1:]} == {"127.0.0.1"}
    body = zonelist.with_servers(BODY, servers, enabled=False)
    assert b"<NAME>gr\xc3\xbcn</NAME><STATE>1</STATE>" in body
    assert body.count(b"<SERVER>") == 3


def test_the_nodes_own_list_and_state_stay():
    own = zonelist.with_servers(BODY, zonelist.held(OWN), enabled=True)
    come = BODY.replace("grün".encode(), b"renamed")
    merged = zonelist.with_own_part(come, own)
    assert merged == own.replace("grün".encode(), b"renamed")
    empty = b"<ZONE><STATE>0</STATE><SERVER_POOL/></ZONE>"
    assert zonelist.with_own_part(BODY, empty).endswith(b"<SERVER_POOL/><MORE/></ZONE>")


@pytest.mark.parametrize("body", [b"", b"<ZONE><STATE>0</STATE></ZONE>", b"<SERVER_POOL/>"])
def test_what_is_no_zone_is_not_written(body):
    with pytest.raises(ValueError, match="a zone without"):
        zonelist.with_servers(body, [OWN], enabled=False)


def test_a_digest_leaves_out_what_differs_between_healthy_servers():
    log = _table("logdb", "log_index", "term", "timestamp", "applied", key=("log_index",))
    text = aheadrows.digest_sql(log, "TRUE")
    assert "`term`" in text
    assert "`timestamp`" not in text
    assert "`applied`" not in text


def test_differences_are_named_with_what_differs():
    shapes = dict.fromkeys(("same", "more", "other", "unknown", "version"), ("x int",))
    one = Contents(
        dict.fromkeys(shapes, 1) | {"db_versioning": 2},
        {"same": 1, "more": 1, "other": 1, "unknown": None, "version": 1, "db_versioning": 1},
        shapes | {"db_versioning": ()},
    )
    two = Contents(
        dict(one.rows) | {"more": 2, "new": 0},
        dict(one.sums) | {"other": 2, "db_versioning": 7, "new": 0},
        dict(one.shapes) | {"version": ("x bigint",), "new": ()},
    )
    assert aheadproof.differences(one, two) == [
        "more: 1 rows instead of 2",
        "new: only in the whole",
        "other: other contents",
        "unknown: other contents",
        "version: other columns",
    ]
    assert aheadproof.differences(two, two) == ["unknown: other contents"]
