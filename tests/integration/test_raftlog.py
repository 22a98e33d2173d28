"""Shipping the log between two real MariaDB servers."""
# ruff: noqa: S608 - statements of the tests' own

import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.integration.mariadbd import SCHEMA, LocalDatabase, mariadb_servers

from onebaton.adapters import raftlog
from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import LogPosition

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("mariadbd") is None, reason="MariaDB's server is not here"),
]

NAMES = (f"one{number}" for number in count())


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    # A socket's path may have 107 bytes.
    with mariadb_servers(tmp_path_factory.mktemp("m"), 2) as sockets:
        yield sockets


@pytest.fixture
def pair(sockets: list[Path]) -> tuple[LocalDatabase, LocalDatabase]:
    """Fresh databases of one name on two servers; the source has oned's tables."""
    name = next(NAMES)
    made = []
    for socket, place in zip(sockets, ("source", "target"), strict=True):
        LocalDatabase(socket, "mysql", place).change(
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4", what="making", timeout_s=10
        )
        made.append(LocalDatabase(socket, name, place))
    source, target = made
    source.change(SCHEMA, what="making tables", timeout_s=10)
    _put(source, 0, 0, b"1763800000", applied=True, run=False)
    return source, target


def _put(
    database: LocalDatabase,
    index: int,
    term: int,
    sql: bytes,
    *,
    applied: bool,
    run: bool,
    fed_index: int = raftlog.NO_INDEX,
) -> None:
    """What oned does: log the record, run it, mark it."""
    if run:
        database.rows(sql, what="running", timeout_s=10)
    database.change(
        f"INSERT INTO logdb VALUES ({index}, {term}, '{raftlog.encode(sql)}', "
        f"{1763800000 if applied else 0}, {fed_index}, '{int(applied)}')",
        what="logging",
        timeout_s=10,
    )


def _document(oid: int, body: str = "<D/>") -> bytes:
    return (
        "INSERT INTO document_pool (oid, name, body, type, uid, gid, owner_u, group_u, other_u) "
        f"VALUES ({oid}, 'probe-{oid}', '{body}', 100, 0, 0, 1, 0, 0)"
    ).encode()


def _write(database: LocalDatabase, indexes: range, term: int = 1) -> None:
    for index in indexes:
        _put(database, index, term, _document(index), applied=True, run=True)


def _copy(source: LocalDatabase, target: LocalDatabase) -> None:
    """Dump and restore, as a seed does."""
    dump = subprocess.run(
        ["mariadb-dump", f"--socket={source.socket}", "--single-transaction", source.name],
        check=True,
        capture_output=True,
        timeout=30,
    ).stdout
    target.rows(dump, what="restoring", timeout_s=30)


def _documents(database: LocalDatabase) -> list[int]:
    rows = database.rows("SELECT oid FROM document_pool ORDER BY oid", what="x", timeout_s=10)
    return [int(row[0]) for row in rows]


def test_a_record_that_the_dump_held_unapplied_is_not_lost(pair):
    source, target = pair
    _write(source, range(1, 6))
    # Logged by the follower and not yet applied, when the dump is taken.
    for index in (6, 7):
        _put(source, index, 1, _document(index), applied=False, run=False)
    _copy(source, target)
    assert raftlog.position(target) == LogPosition(7, 5, 1)
    # Then the follower applies them, and more come.
    for index in (6, 7):
        source.rows(_document(index), what="applying", timeout_s=10)
        source.change(
            f"UPDATE logdb SET applied = '1', timestamp = 1 WHERE log_index = {index}",
            what="marking",
            timeout_s=10,
        )
    _write(source, range(8, 11))

    assert raftlog.ship(source, target) == 5

    assert _documents(target) == _documents(source) == list(range(1, 11))
    assert raftlog.position(target) == LogPosition(10, 10, 1)
    assert raftlog.ship(source, target) == 0


def test_a_record_that_ran_before_the_dump_and_was_marked_after_it_counts_as_applied(pair):
    source, target = pair
    _write(source, range(1, 4))
    _put(source, 4, 1, _document(4), applied=False, run=True)
    _copy(source, target)
    source.change("UPDATE logdb SET applied = '1', timestamp = 1", what="x", timeout_s=10)
    _write(source, range(5, 7))

    assert raftlog.ship(source, target) == 3

    assert _documents(target) == list(range(1, 7))
    stored = "SELECT log_index, term, sqlcmd, fed_index, applied FROM logdb ORDER BY 1"
    assert target.rows(stored, what="x", timeout_s=10) == source.rows(
        stored, what="x", timeout_s=10
    )


def test_what_the_source_has_not_applied_is_not_shipped(pair):
    source, target = pair
    _copy(source, target)
    _write(source, range(1, 4))
    _put(source, 4, 1, _document(4), applied=False, run=False)
    assert raftlog.ship(source, target) == 3
    assert raftlog.position(target) == LogPosition(3, 3, 1)


def test_uncommitted_leftovers_are_replaced_and_older_ones_beyond_removed(pair):
    source, target = pair
    _write(source, range(1, 4))
    _copy(source, target)
    for index in range(4, 10):
        _put(target, index, 1, b"DELETE FROM document_pool", applied=False, run=False)
    _write(source, range(4, 7), term=3)

    raftlog.ship(source, target)

    assert _documents(target) == list(range(1, 7))
    assert raftlog.position(target) == LogPosition(6, 6, 3)


NASTY = (
    "ä€😀 \\\\ \\' \\\" \\n \\0 \\t\r\n-- no comment\n# nor this\n/* nor */ ; DELIMITER $$\n"
    "$$ \\\\G ${x} %s <![CDATA[]]> \t end"
)


def test_every_byte_arrives(pair):
    source, target = pair
    _copy(source, target)
    _put(source, 1, 1, _document(1, NASTY), applied=True, run=True)
    large = "x" * 300_000 + "\\\\" * 50_000
    _put(source, 2, 1, _document(2, large) + b";", applied=True, run=True)
    update = b"UPDATE user_pool SET body = '\\0\\Z\x01\x7f' WHERE oid = 1"
    insert = b"REPLACE INTO user_pool VALUES (1, 'a\\'b', '\\\\', 0, 0, 1, 0, 0)"
    _put(source, 3, 1, insert, applied=True, run=True)
    _put(source, 4, 1, update, applied=True, run=True, fed_index=4)
    _put(source, 5, 1, b"", applied=True, run=False)

    assert raftlog.ship(source, target) == 5

    for table in ("document_pool", "user_pool", "logdb"):
        sums = [
            database.rows(f"CHECKSUM TABLE {table}", what="x", timeout_s=10)[0][1]
            for database in pair
        ]
        assert sums[0] == sums[1], table


def test_the_latin1_database_of_an_old_zone_keeps_its_bytes(sockets):
    name = next(NAMES)
    made = []
    for socket, place in zip(sockets, ("source", "target"), strict=True):
        LocalDatabase(socket, "mysql", place).change(
            f"CREATE DATABASE {name} CHARACTER SET latin1", what="making", timeout_s=10
        )
        made.append(LocalDatabase(socket, name, place))
        made[-1].change(SCHEMA, what="making tables", timeout_s=10)
        _put(made[-1], 0, 0, b"1", applied=True, run=False)
    source, target = made
    # oned's connection speaks the database's character set: UTF-8 goes in as bytes.
    source.rows(b"SET NAMES latin1;" + _document(1, "grün €"), what="running", timeout_s=10)
    _put(source, 1, 1, _document(1, "grün €"), applied=True, run=False)
    raftlog.ship(source, target)
    query = "SELECT HEX(body) FROM document_pool"
    assert target.rows(query, what="x", timeout_s=10) == [("grün €".encode().hex().upper(),)]
    assert source.rows(query, what="x", timeout_s=10) == target.rows(query, what="x", timeout_s=10)


def test_many_records_go_over_in_batches(pair, monkeypatch):
    source, target = pair
    _copy(source, target)
    script = "".join(
        f"INSERT INTO logdb VALUES ({index}, 1, '{raftlog.encode(_document(index))}', 1, "
        f"{raftlog.NO_INDEX}, '1');{_document(index).decode()};"
        for index in range(1, 251)
    )
    source.change(f"START TRANSACTION;{script}COMMIT;", what="writing", timeout_s=60)
    monkeypatch.setattr(raftlog, "BATCH_RECORDS", 100)
    assert raftlog.ship(source, target) == 250
    assert _documents(target) == _documents(source)


def test_a_target_outside_the_log_window_is_refused(pair):
    source, target = pair
    _write(source, range(1, 4))
    _copy(source, target)
    _write(source, range(4, 9))
    source.change("DELETE FROM logdb WHERE log_index < 6", what="purging", timeout_s=10)
    with pytest.raises(RefusedError, match="fell out of the log window") as caught:
        raftlog.ship(source, target)
    assert "Seed target again" in str(caught.value.resolution)
    assert raftlog.position(target) == LogPosition(3, 3, 1)


def test_another_history_is_refused(pair):
    source, target = pair
    _write(source, range(1, 4))
    _copy(source, target)
    target.change("UPDATE logdb SET term = 7 WHERE log_index = 3", what="x", timeout_s=10)
    _write(source, range(4, 6))
    with pytest.raises(RefusedError, match="different histories"):
        raftlog.ship(source, target)


def test_a_gap_in_the_source_is_refused(pair):
    source, target = pair
    _copy(source, target)
    _write(source, range(1, 6))
    source.change("DELETE FROM logdb WHERE log_index = 3", what="x", timeout_s=10)
    with pytest.raises(RefusedError, match="gap after record 2"):
        raftlog.ship(source, target)
    assert raftlog.position(target).last_index == 0


def test_the_first_error_stops_and_names_the_record_but_not_its_secrets(pair):
    source, target = pair
    _copy(source, target)
    _write(source, range(1, 4))
    _put(source, 4, 1, b"INSERT INTO gone VALUES ('hunter2')", applied=True, run=False)
    with pytest.raises(StepFailedError, match="cannot replay record 4") as caught:
        raftlog.ship(source, target)
    shown = str(caught.value) + "".join(caught.value.details)
    assert "ERROR 1146" in shown
    assert "hunter2" not in shown
    # The batch is one transaction: nothing of it stays.
    assert _documents(target) == []
    assert raftlog.position(target).last_applied == 0


def test_a_record_that_was_passed_over_is_told(pair):
    source, _ = pair
    _write(source, range(1, 6))
    assert raftlog.position(source) == LogPosition(5, 5, 1)
    _put(source, 6, 2, _document(6), applied=False, run=False)
    assert raftlog.position(source) == LogPosition(6, 5, 2)
    _write(source, range(7, 9), term=2)
    assert raftlog.position(source) == LogPosition(8, 5, 2, passed_over=6)


def test_an_empty_log_has_no_position(pair):
    source, _ = pair
    source.change("DELETE FROM logdb", what="x", timeout_s=10)
    assert raftlog.position(source) == LogPosition(-1, -1, 0)
    source.change(
        f"INSERT INTO logdb VALUES ({raftlog.NO_INDEX}, 0, '', 0, 0, '0')", what="x", timeout_s=10
    )
    assert raftlog.position(source) == LogPosition(-1, -1, 0)
    _put(source, 0, 0, b"1", applied=False, run=False)
    assert raftlog.position(source) == LogPosition(0, -1, 0)
