"""Parity of two real MariaDB servers while somebody writes."""
# ruff: noqa: S608 - statements of the tests' own

import shutil
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.integration.mariadbd import SCHEMA, LocalDatabase, mariadb_servers

from onebaton.adapters import raftlog, tablesums
from onebaton.adapters.mariadb import SqlError

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("mariadbd") is None, reason="MariaDB's server is not here"),
]

NAMES = (f"sums{number}" for number in count())


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    with mariadb_servers(tmp_path_factory.mktemp("m"), 2) as sockets:
        yield sockets


@pytest.fixture
def pair(sockets: list[Path]) -> list[LocalDatabase]:
    """Two equal databases, each with the traits of its own node."""
    name = next(NAMES)
    made = []
    for number, socket in enumerate(sockets):
        LocalDatabase(socket, "mysql", "admin").change(
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4", what="making", timeout_s=10
        )
        database = LocalDatabase(socket, name, f"node{number}")
        database.change(
            f"""{SCHEMA}
INSERT INTO logdb VALUES (0, 0, '', {number}, {raftlog.NO_INDEX}, '1');
UPDATE db_versioning SET timestamp = {number};
INSERT INTO host_monitoring VALUES (1, {number}, '<M/>');
UPDATE system_attributes SET body = '<RAFT><VOTEDFOR>{number}</VOTEDFOR></RAFT>';
INSERT INTO system_attributes VALUES ('GROUP_QUOTAS', '<Q/>');""",
            what="making tables",
            timeout_s=10,
        )
        made.append(database)
    return made


def _log(database: LocalDatabase, index: int, *, applied: bool) -> str:
    return f"INSERT INTO logdb VALUES ({index}, 1, '', 1, {raftlog.NO_INDEX}, '{int(applied)}')"


def _document(oid: int) -> str:
    return f"INSERT INTO document_pool VALUES ({oid}, 'd', '<D/>', 100, 0, 0, 1, 0, 0)"


def _do(database: LocalDatabase, *statements: str) -> None:
    database.change(";".join(statements), what="writing", timeout_s=10)


def test_what_belongs_to_a_node_alone_is_not_compared(pair):
    (one, ours), (other, theirs) = tablesums.of_two(*pair)
    assert ours == theirs
    assert one.last_applied == other.last_applied == 0
    assert {"document_pool", "user_pool", "pool_control", "system_attributes"} == set(ours)
    assert tablesums.of_one(pair[0]) == (one, ours)


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        (_document(1), "document_pool"),
        ("UPDATE system_attributes SET body = 'x' WHERE name = 'GROUP_QUOTAS'", None),
        ("DROP TABLE user_pool", "user_pool"),
    ],
)
def test_one_difference_is_named(pair, statement, table):
    _do(pair[1], statement)
    (_, ours), (_, theirs) = tablesums.of_two(*pair)
    differing = {name for name in ours | theirs if ours.get(name) != theirs.get(name)}
    assert differing == {table or "system_attributes"}


def test_a_moment_of_equal_index_is_found_while_both_are_written(pair):
    stop = threading.Event()

    def write() -> None:
        for index in count(1):
            if stop.is_set():
                return
            # As oned does it: log, run, mark; the leader first, the follower behind it.
            for database in pair:
                _do(database, _log(database, index, applied=False))
                _do(database, _document(index))
                _do(database, f"UPDATE logdb SET applied = 1 WHERE log_index = {index}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.2)
        seen = [tablesums.of_two(*pair) for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    for (one, ours), (other, theirs) in seen:
        assert one.last_applied == other.last_applied > 0
        assert ours == theirs
        assert ours["document_pool"]


def test_positions_that_never_meet_come_back_without_sums(pair, monkeypatch):
    monkeypatch.setattr(tablesums, "PATIENCE_S", 0.2)
    _do(pair[0], _log(pair[0], 1, applied=True))
    (one, ours), (other, theirs) = tablesums.of_two(*pair)
    assert (one.last_applied, other.last_applied) == (1, 0)
    assert ours == theirs == {}


def test_a_record_between_its_effect_and_its_mark_is_no_difference(pair):
    # One node is caught in between for a while, the other has not begun.
    _do(pair[0], _log(pair[0], 1, applied=False), _document(1))
    _do(pair[1], _log(pair[1], 1, applied=False))

    def settle() -> None:
        time.sleep(0.05)
        _do(pair[1], _document(1))
        for database in pair:
            _do(database, "UPDATE logdb SET applied = 1 WHERE log_index = 1")

    later = threading.Thread(target=settle)
    later.start()
    (one, ours), (_, theirs) = tablesums.of_two(*pair)
    later.join()
    assert ours == theirs
    # Equal sums are a proof, whether the mark was there already or not.
    assert one.last_applied in (0, 1)


def test_a_lasting_difference_is_told_although_nothing_settles(pair, monkeypatch):
    monkeypatch.setattr(tablesums, "PATIENCE_S", 0.5)
    for database in pair:
        _do(database, _log(database, 1, applied=False))
    _do(pair[0], _document(7))
    (one, ours), (other, theirs) = tablesums.of_two(*pair)
    assert one.last_applied == other.last_applied == 0
    assert ours["document_pool"] != theirs["document_pool"]


def test_a_failing_statement_ends_a_session_with_the_servers_words(pair):
    with (
        pair[0].session(timeout_s=10) as session,
        pytest.raises(SqlError, match="asking on node0 failed") as caught,
    ):
        session.rows("SELECT * FROM nothing_here", what="asking")
    assert caught.value.number == 1146
