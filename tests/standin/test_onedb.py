"""``onedb`` of the stand-in prints and ends as the recorded one does.

Source: the recorded outputs of 6.10.5 and 7.0.2, and the measured notes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.standin.harness import HarnessError, MariaDB, Server, mariadb, zone

pytestmark = pytest.mark.integration

_NOWHERE = "http://127.0.0.1:1/RPC2"
_VM = "<VM><ID>{0}</ID><RESCHED>0</RESCHED></VM>"
_HISTORY = "<HISTORY><OID>{0}</OID><SEQ>0</SEQ></HISTORY>"


@pytest.fixture(scope="module")
def database() -> Iterator[MariaDB]:
    try:
        with mariadb() as started:
            yield started
    except HarnessError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def stopped(database: MariaDB) -> Iterator[Server]:
    """A server that does not run, with a database of 6.10.0."""
    with zone(database, size=1, start=False) as started:
        (server,) = started.servers
        server.configure()
        yield server


def _as(server: Server, release: str) -> Server:
    server.release = release
    server.configure()
    return server


def test_version_of_an_equal_schema(stopped: Server) -> None:
    done = _as(stopped, "6.10.5").tool("onedb", "version")
    assert done.returncode == 0
    assert done.stdout == (
        "Shared: 6.10.0\nLocal:  6.10.0\n"
        "Required shared version: 6.10.0\nRequired local version:  6.10.0\n"
    )


def test_version_of_an_older_schema(stopped: Server) -> None:
    done = _as(stopped, "7.0.2").tool("onedb", "version")
    assert done.returncode == 2
    assert done.stdout == (
        "Shared: 6.10.0\nLocal:  6.10.0\n"
        "Required shared version: 7.0.0\nRequired local version:  7.0.0\n"
        "\nUpdate required. Expected DB version is:\nLocal:  7.0.0\nShared: 7.0.0\n"
    )


def test_version_of_a_newer_schema(stopped: Server) -> None:
    assert _as(stopped, "7.0.2").tool("onedb", "upgrade", ONE_XMLRPC=_NOWHERE).returncode == 0
    assert _as(stopped, "6.10.5").tool("onedb", "version").returncode == 3


def test_version_of_an_empty_database(stopped: Server) -> None:
    name = stopped.name
    stopped.database.sql(f"DROP DATABASE {name}; CREATE DATABASE {name}")
    done = stopped.tool("onedb", "version")
    assert done.returncode == 1
    assert "Database is not correctly bootstraped." in done.stderr


def test_upgrade_prints_as_recorded(stopped: Server) -> None:
    done = _as(stopped, "7.0.2").tool("onedb", "upgrade", "-v", ONE_XMLRPC=_NOWHERE)
    assert done.returncode == 0, done.stderr
    text = re.sub(r"\d+\.\d\ds", "0.00s", done.stdout)
    text = re.sub(r"stored in \S+/mysql_localhost_\w+_\d+-\d+-\d+_\d+:\d+:\d+\.sql", "stored", text)
    migrator = "/usr/lib/one/ruby/onedb/{0}/6.10.0_to_7.0.0.rb"
    migrated = "Database migrated from 6.10.0 to 7.0.0 (OpenNebula 7.0.0) by onedb command.\n"
    assert text == (
        "Version read:\n"
        "Shared tables 6.10.0 : OpenNebula 6.10.0 () daemon bootstrap\n"
        "Local tables  6.10.0 : OpenNebula 6.10.0 () daemon bootstrap\n\n"
        "MySQL dump stored\n"
        "Use 'onedb restore' or restore the DB using the mysql command:\n"
        "mysql -u user -h server -P port db_name < backup_file\n\n\n"
        ">>> Running migrators for shared tables\n"
        f"  > Running migrator {migrator.format('shared')}\n  > Done in 0.00s\n\n{migrated}\n"
        ">>> Running migrators for local tables\n"
        f"  > Running migrator {migrator.format('local')}\n  > Done in 0.00s\n\n{migrated}\n"
        "Total time: 0.00s\n"
    )
    assert _as(stopped, "7.0.2").tool("onedb", "version").returncode == 0
    again = stopped.tool("onedb", "upgrade", ONE_XMLRPC=_NOWHERE)
    assert again.stdout == "Database schema is up to date.\n"


def test_the_migrator_drops_documents_and_rewrites_rows(stopped: Server) -> None:
    database = stopped.database
    for oid, kind in ((1, 100), (2, 101), (3, 999), (4, 5)):
        database.sql(
            f"INSERT INTO document_pool (oid, name, body, type, uid) VALUES "
            f"({oid}, 'd', '<DOCUMENT><ID>{oid}</ID></DOCUMENT>', {kind}, 0)",
            stopped.name,
        )
    database.sql(
        f"INSERT INTO vm_pool (oid, name, body) VALUES (1, 'v', '{_VM.format(1)}');"
        f"INSERT INTO history (vid, seq, body) VALUES (1, 0, '{_HISTORY.format(1)}');"
        "INSERT INTO image_pool (oid, name, body, uid) VALUES "
        "(1, 'i', '<IMAGE><REGTIME>7</REGTIME></IMAGE>', 0)",
        stopped.name,
    )
    done = _as(stopped, "7.0.2").tool("onedb", "upgrade", "--no-backup", ONE_XMLRPC=_NOWHERE)
    assert done.returncode == 0, done.stderr
    assert not list((stopped.folder / "var").glob("*.sql"))
    assert "document" not in done.stdout + done.stderr

    def rows(statement: str) -> list[list[str]]:
        return database.sql(statement, stopped.name)

    assert rows("SELECT oid FROM document_pool ORDER BY oid") == [["1"], ["2"]]
    assert rows("SELECT resched FROM vm_pool") == [["0"]]
    assert "<PLAN_ID>-2</PLAN_ID>" in rows("SELECT body FROM history")[0][0]
    assert "<MODTIME>7</MODTIME>" in rows("SELECT body FROM image_pool")[0][0]
    assert rows("SELECT cid FROM plan_pool ORDER BY cid") == [["-1"], ["0"]]


def test_the_migrator_takes_two_milliseconds_a_row(stopped: Server) -> None:
    values = ",".join(f"({oid}, 'v', '{_VM.format(oid)}')" for oid in range(500))
    histories = ",".join(f"({oid}, 0, '{_HISTORY.format(oid)}')" for oid in range(500))
    stopped.database.sql(
        f"INSERT INTO vm_pool (oid, name, body) VALUES {values};"
        f"INSERT INTO history (vid, seq, body) VALUES {histories}",
        stopped.name,
    )
    begun = time.monotonic()
    done = _as(stopped, "7.0.2").tool("onedb", "upgrade", "--no-backup", ONE_XMLRPC=_NOWHERE)
    assert done.returncode == 0, done.stderr
    # 1,000 rows, and at most a second for everything around them.
    assert 2.0 <= time.monotonic() - begun <= 3.5


def test_refuses_while_the_lock_is_there_or_a_server_answers(stopped: Server) -> None:
    _as(stopped, "7.0.2")
    stopped.lock_file.touch()
    done = stopped.tool("onedb", "upgrade", ONE_XMLRPC=_NOWHERE)
    assert done.returncode == 255
    assert done.stderr == f"First stop OpenNebula. Lock file found: {stopped.lock_file}\n"
    stopped.lock_file.unlink()
    with zone(stopped.database, size=1) as other:
        endpoint = other.servers[0].endpoint
        for arguments in (("upgrade",), ("fsck",), ("restore", "-f", str(stopped.folder / "x"))):
            (stopped.folder / "x").touch()
            if arguments[0] == "fsck":
                _as(stopped, "6.10.0")
            done = stopped.tool("onedb", *arguments, ONE_XMLRPC=endpoint)
            assert done.returncode == 255
            assert done.stderr == f"OpenNebula found listening on '{endpoint}'\n"


def test_backup_and_restore(stopped: Server) -> None:
    path = stopped.folder / "dump.sql"
    done = stopped.tool("onedb", "backup", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"MySQL dump stored in {path}\n")
    refused = stopped.tool("onedb", "backup", str(path))
    assert refused.returncode == 255
    assert refused.stderr == f"File {path} exists, backup aborted. Use -f to overwrite.\n"
    stopped.database.sql("DELETE FROM user_pool", stopped.name)
    refused = stopped.tool("onedb", "restore", str(path), ONE_XMLRPC=_NOWHERE)
    assert refused.returncode == 255
    assert refused.stderr == (
        f"MySQL database {stopped.name} at localhost exists, use -f to overwrite.\n"
    )
    done = stopped.tool("onedb", "restore", "-f", str(path), ONE_XMLRPC=_NOWHERE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"MySQL DB {stopped.name} at localhost restored.\n"
    assert stopped.database.sql("SELECT COUNT(*) FROM user_pool", stopped.name) == [["2"]]


def test_any_database_can_be_named(stopped: Server) -> None:
    copy = f"{stopped.name}_copy"
    stopped.database.copy(stopped.name, copy)
    try:
        named = ("-S", "localhost", "-u", "oneadmin", "-p", "oneadmin", "-d", copy)
        done = _as(stopped, "7.0.2").tool(
            "onedb", "upgrade", *named, "--no-backup", ONE_XMLRPC=_NOWHERE
        )
        assert done.returncode == 0, done.stderr
        assert stopped.tool("onedb", "version", *named).returncode == 0
        assert stopped.tool("onedb", "version").returncode == 2
    finally:
        stopped.database.sql(f"DROP DATABASE {copy}")


def test_fsck_repairs_a_counter(stopped: Server) -> None:
    stopped.database.sql(
        "INSERT INTO template_pool (oid, name, body, uid) VALUES (41, 't', '<X/>', 0)",
        stopped.name,
    )
    done = stopped.tool("onedb", "fsck", ONE_XMLRPC=_NOWHERE)
    assert done.returncode == 0, done.stderr
    assert "Total errors found: 1\nTotal errors repaired: 1\n" in done.stdout
    counter = "SELECT last_oid FROM pool_control WHERE tablename = 'template_pool'"
    assert stopped.database.sql(counter, stopped.name) == [["41"]]


def test_onezone_shows_a_stopped_server_as_error(database: MariaDB) -> None:
    with zone(database) as started:
        leader = started.wait_for_leader()
        started.followers()[1].kill()
        done = leader.tool("onezone", "show", "0")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0] == "ZONE 0 INFORMATION"
        states = {line.split()[2] for line in lines[-3:]}
        assert states == {"leader", "follower", "error"}


def test_the_repository_is_reproducible(tmp_path: Path) -> None:
    from tests.standin.build import build

    first, second = tmp_path / "a", tmp_path / "b"
    assert build(first) is True
    assert build(second) is True
    assert build(first) is False
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert sum(name.endswith(".deb") for name in names) == 9
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
