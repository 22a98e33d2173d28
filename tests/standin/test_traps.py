"""The stand-in has the traps of the real one; a tool that steps into one must fail here.

Sources: the measured notes on OpenNebula 6.10 and the recorded answers.
"""

from __future__ import annotations

import base64
import contextlib
import signal
import subprocess
import threading
import time
import xmlrpc.client
import zlib
from collections.abc import Callable, Iterator

import pytest
from tests.standin.harness import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    QUICK,
    HarnessError,
    MariaDB,
    Server,
    Zone,
    free_port,
    mariadb,
    wait_for,
    zone,
)

pytestmark = pytest.mark.integration

_NOT_FEDERATED = "18446744073709551615"


@pytest.fixture(scope="module")
def database() -> Iterator[MariaDB]:
    try:
        with mariadb() as started:
            yield started
    except HarnessError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def three(database: MariaDB) -> Iterator[Zone]:
    with zone(database) as started:
        yield started


def _level(started: Zone) -> None:
    """Wait until every server that runs has applied the same records."""

    def same() -> bool:
        states = [one.raft_status() for one in started.servers if one.process is not None]
        return len({(one["LOG_INDEX"], one["COMMIT"]) for one in states}) == 1

    wait_for(same, 15, "all servers to be level")
    time.sleep(0.3)


def _add(started: Zone, server_id: int, name: str, endpoint: str) -> None:
    leader = started.wait_for_leader()
    answer = leader.call("one.zone.addserver", 0, f'SERVER=[NAME="{name}",ENDPOINT="{endpoint}"]')
    assert answer[:2] == [True, 0]
    assert f"<ID><![CDATA[{server_id}]]></ID>" in leader.call("one.zone.info", 0, False)[1]


def _new_member(started: Zone, **changes: object) -> Server:
    """A fourth server, seeded from a follower and not yet in the zone."""
    source = started.followers()[0]
    member = Server(
        started.database,
        source.folder.parent / "n3",
        source.port,
        source.name.replace("_n", "_x") + "4",
        server_id=3,
        raft={"ELECTION_TIMEOUT_MS": 1500},
        delays=dict(QUICK),
    )
    for key, value in changes.items():
        setattr(member, key, value)
    member.port = free_port()
    started.database.copy(source.name, member.name)
    return member


@contextlib.contextmanager
def _ended(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.kill()
        server.database.sql(f"DROP DATABASE IF EXISTS {server.name}")


def test_records_are_stored_as_the_real_ones(three: Zone) -> None:
    leader = three.wait_for_leader()
    before = leader.raft_status()["LOG_INDEX"]
    assert leader.write("stored")[0] is True
    _level(three)
    for server in three.servers:
        rows = three.database.sql(
            "SELECT log_index, sqlcmd, fed_index, applied FROM logdb "
            f"WHERE log_index > {before} ORDER BY log_index",
            server.name,
        )
        commands = [zlib.decompress(base64.b64decode(row[1])).decode() for row in rows]
        assert len(rows) == 2
        assert commands[0].startswith("REPLACE INTO pool_control")
        assert commands[1].startswith("INSERT INTO document_pool")
        assert {row[2] for row in rows} == {_NOT_FEDERATED}
        assert {row[3] for row in rows} == {"1"}


def test_contents_agree_between_servers(three: Zone) -> None:
    for number, server in enumerate(three.servers * 5):
        assert server.write(f"agree-{number}")[0] is True
    _level(three)
    checksums = {
        tuple(
            row[1]
            for row in three.database.sql("CHECKSUM TABLE document_pool, pool_control", one.name)
        )
        for one in three.servers
    }
    assert len(checksums) == 1


def test_a_follower_logs_the_last_record_before_it_applies_it(three: Zone) -> None:
    leader = three.wait_for_leader()
    follower = three.followers()[0]
    seen = False
    for number in range(20):
        assert leader.write(f"late-{number}")[0] is True
        rows = three.database.sql("SELECT COUNT(*) FROM logdb WHERE applied = 0", follower.name)
        seen = seen or int(rows[0][0]) > 0
    assert seen


def test_a_deposed_leaders_own_record_is_applied_and_its_successors_is_not(three: Zone) -> None:
    """The next leader's heartbeat speaks of an index; whose record lies there nobody looks at.

    Source: ``ZoneAPI.cc`` (``replicate_log``, its branch for heartbeats), ``RaftManager.cc``
    (``update_commit``) and ``LogDB.cc`` (``apply_log_records``, ``delete_log_records``). What it
    leaves in the log is the only trace.
    """
    leader, one = three.wait_for_leader(), three.followers()[0]
    _level(three)
    for other in three.servers:
        if other is not one:
            other.kill()
    status = one.raft_status()
    last, term = (status["LOG_INDEX"], status["LOG_TERM"]), status["TERM"] + 10

    def document(oid: int, name: str) -> str:
        columns = "oid, name, body, type, uid, gid, owner_u, group_u, other_u"
        return f"INSERT INTO document_pool ({columns}) VALUES ({oid},'{name}','',9,0,0,1,0,0)"

    # A leader sends a record and is cut off before anybody confirms it; another one leads then.
    assert one.replicate(term, last[0], after=last, sql=document(900, "unconfirmed"))[0] is True
    assert one.replicate(term + 1, last[0] + 1)[0] is True
    for step, name in enumerate(("confirmed", "later")):
        before = last if step == 0 else (last[0] + 1, term + 1)
        sent = one.replicate(term + 1, last[0] + 2, after=before, sql=document(900 + step, name))
        assert sent[0] is True
    rows = three.database.sql(
        f"SELECT log_index, term, applied FROM logdb WHERE log_index > {last[0]}", one.name
    )
    first, second = last[0] + 1, last[0] + 2
    assert rows == [[str(first), str(term + 1), "0"], [str(second), str(term + 1), "1"]]
    held = three.database.sql("SELECT name FROM document_pool WHERE oid >= 900", one.name)
    assert held == [["unconfirmed"], ["later"]]
    assert leader.process is None


def test_a_member_is_not_learnt_by_running_followers(three: Zone) -> None:
    member = _new_member(three)
    with _ended(member):
        _add(three, 3, "n3", member.endpoint)
        member.raft["ELECTION_TIMEOUT_MS"] = 600
        member.start()
        wait_for(lambda: member.raft_status()["STATE"] == FOLLOWER, 10, "the member to follow")
        wait_for(lambda: member.write("through the member")[0], 10, "a write through the member")
        old_leader = three.wait_for_leader()
        followers = three.followers()
        old_leader.kill()
        wait_for(lambda: member.raft_status()["STATE"] == LEADER, 20, "the member to lead")
        wait_for(lambda: member.write("by the member")[0], 10, "a write by the member")
        for follower in followers:
            answer = follower.write("through an old follower")
            assert answer[0] is False
            assert answer[1] == ("[one.document.allocate] Cannot process request, no leader found")
            assert answer[2] == 8192
        # Restarted, it reads the list anew.
        followers[0].stop()
        followers[0].start()
        wait_for(lambda: followers[0].write("again")[0], 10, "a write through the restarted one")


def test_a_removed_server_that_runs_topples_the_leader(three: Zone) -> None:
    leader = three.wait_for_leader()
    removed = three.followers()[0]
    term = leader.raft_status()["TERM"]
    assert leader.call("one.zone.delserver", 0, removed.server_id)[0] is True
    wait_for(
        lambda: any(
            one.raft_status()["TERM"] > term for one in three.servers if one is not removed
        ),
        20,
        "the others' term to rise",
    )


def test_another_secret_topples_the_leader(three: Zone) -> None:
    member = _new_member(three, secret="oneadmin:another", server_id=3)
    three.database.sql(
        "UPDATE user_pool SET body = REPLACE(body, (SELECT * FROM (SELECT "
        "SUBSTRING_INDEX(SUBSTRING_INDEX(body, '<PASSWORD><![CDATA[', -1), ']]>', 1) "
        "FROM user_pool WHERE oid = 0) AS own), SHA2('another', 256)) WHERE oid = 0",
        member.name,
    )
    with _ended(member):
        member.start()
        _add(three, 3, "n3", member.endpoint)
        leader = three.wait_for_leader()
        wait_for(lambda: leader.raft_status()["TERM"] == (1 << 32) - 1, 20, "the leader's fall")
        assert "term (4294967295) is higher than current" in leader.log


def test_a_disabled_zone_is_read_and_not_written(three: Zone) -> None:
    leader = three.wait_for_leader()
    assert leader.call("one.zone.enable", 0, False)[:2] == [True, 0]
    for server in three.servers:
        answer = server.write("no")
        assert answer[1:3] == [
            "[one.document.allocate] Cannot process request, zone disabled",
            8192,
        ]
        assert server.call("one.userpool.info")[0] is True
    assert leader.call("one.zone.resetserver", 0, 1)[2] == 8192
    assert leader.call("one.zone.enable", 0, True)[0] is True
    assert leader.write("yes")[0] is True


def test_sigkill_loses_nothing_and_leaves_the_lock(three: Zone) -> None:
    leader = three.wait_for_leader()
    written = [leader.write(f"kept-{number}")[1] for number in range(20)]
    leader.kill()
    assert leader.lock_file.exists()
    successor = three.wait_for_leader()
    assert successor is not leader
    wait_for(lambda: successor.write("next")[0], 10, "it to have reconciled")
    listed = successor.call("one.documentpool.info", -2, -1, -1, 999)[1]
    assert all(f"<ID>{oid}</ID>" in listed for oid in written)
    leader.start(wait=False)
    assert leader.process is not None
    assert leader.process.wait(timeout=10) == 255
    assert "Cannot start oned, opening lock file" in (leader.folder / "output").read_text()


def test_a_candidate_without_a_quorum_ignores_sigterm(three: Zone) -> None:
    leader = three.wait_for_leader()
    last, other = three.followers()
    leader.kill()
    other.kill()
    wait_for(lambda: last.raft_status()["STATE"] == CANDIDATE, 10, "it to be a candidate")
    answer = last.write("no")
    assert answer[1:3] == [
        "[one.document.allocate] Cannot process request, oned cluster in election mode",
        8192,
    ]
    last.signal(signal.SIGTERM)
    assert last.process is not None
    with pytest.raises(subprocess.TimeoutExpired):
        last.process.wait(timeout=4)


def test_a_leader_cut_off_hangs_and_stays_leader(database: MariaDB) -> None:
    # Short terms for its followers would make them elect, so they are stopped whole.
    with zone(database) as started:
        leader = started.wait_for_leader()
        followers = started.followers()
        for follower in followers:
            follower.signal(signal.SIGSTOP)
        try:
            failures: list[object] = []

            def write() -> None:
                try:
                    failures.append(leader.write("lost", timeout_s=3))
                except OSError as error:
                    failures.append(error)

            threads = [threading.Thread(target=write) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=10)
            assert len(failures) == len(threads)
            assert all(isinstance(one, OSError) for one in failures)
            with pytest.raises(OSError, match="timed out"):
                leader.call("one.zone.raftstatus", timeout_s=2)
        finally:
            for follower in followers:
                follower.signal(signal.SIGCONT)
        wait_for(lambda: _writes(started), 30, "a write after the cut has healed")


def _writes(started: Zone) -> bool:
    for server in started.servers:
        with contextlib.suppress(OSError, xmlrpc.client.Error):
            if server.write("healed", timeout_s=2)[0] is True:
                return True
    return False


def test_a_follower_beyond_the_retention_looks_healthy(database: MariaDB) -> None:
    raft = {"LOG_RETENTION": 10, "LIMIT_PURGE": 1000, "LOG_PURGE_TIMEOUT": 1}
    with zone(database, raft=raft, election_timeouts_ms=(1000, 4000, 5000)) as started:
        leader, _, third = started.servers
        third.stop()
        for number in range(15):
            assert leader.write(f"purged-{number}")[0] is True
        time.sleep(2.5)
        third.start()
        stuck = third.raft_status()
        time.sleep(4)
        assert leader.write("still going")[0] is True
        after = third.raft_status()
        assert after["STATE"] == FOLLOWER
        assert after["TERM"] == leader.raft_status()["TERM"]
        assert after["LOG_INDEX"] == stuck["LOG_INDEX"]
        assert f"Failed to load log record at index: {stuck['LOG_INDEX'] + 1}" in leader.log
        # Seeded anew and reset, it follows.
        third.stop()
        database.copy(started.servers[1].name, third.name)
        third.start()
        assert leader.call("one.zone.resetserver", 0, third.server_id)[0] is True
        target = leader.raft_status()["LOG_INDEX"]
        wait_for(lambda: third.raft_status()["LOG_INDEX"] >= target, 10, "the third to be level")


@pytest.mark.parametrize(
    ("release", "goes_on"), [("6.10.0", False), ("7.0.2", True)], ids=["6.10.0", "7.0.2"]
)
def test_a_record_that_fails_on_a_follower(database: MariaDB, release: str, goes_on: bool) -> None:
    with zone(database, release=release, election_timeouts_ms=(1000, 4000, 5000)) as started:
        leader, second, _ = started.servers
        database.sql("ALTER TABLE document_pool DROP COLUMN other_u", second.name)
        for number in range(3):
            assert leader.write(f"broken-{number}")[0] is True
        assert leader.call("one.template.allocate", "NAME=after")[0] is True
        time.sleep(1.5)
        assert second.raft_status()["LOG_INDEX"] == leader.raft_status()["LOG_INDEX"]
        rows = database.sql("SELECT name FROM template_pool", second.name)
        assert (rows == [["after"]]) is goes_on
        unapplied = database.sql("SELECT COUNT(*) FROM logdb WHERE applied = 0", second.name)
        assert (int(unapplied[0][0]) == 0) is goes_on


def test_the_schema_must_match_exactly(database: MariaDB) -> None:
    with zone(database, size=1, start=False) as started:
        (server,) = started.servers
        server.release = "7.0.2"
        server.start(wait=False)
        assert server.process is not None
        assert server.process.wait(timeout=10) == 255
        assert (
            "[ONE][E]: Database version mismatch ( local_db_versioning). Installed OpenNebula "
            "7.0.2 () needs DB version '7.0.0', and existing DB version is '6.10.0'.\n"
        ) in server.log
        assert "[ONE][E]: Use onedb to upgrade DB.\n" in server.log
        assert server.log.rstrip().endswith("[ONE][I]: All modules finalized, exiting.")
        assert not server.lock_file.exists()
        server.release = "6.10.5"
        server.start()


def test_servers_of_equal_schema_mix(database: MariaDB) -> None:
    with zone(database, election_timeouts_ms=(1000, 1800, 2600)) as started:
        second = started.servers[1]
        second.stop()
        second.release = "6.10.5"
        second.start()
        wait_for(lambda: second.write("through 6.10.5")[0], 10, "a write through 6.10.5")
        started.servers[0].kill()
        wait_for(lambda: second.raft_status()["STATE"] == LEADER, 15, "6.10.5 to lead")
        wait_for(lambda: second.write("by 6.10.5")[0], 10, "a write by 6.10.5")


def test_an_empty_database_is_refused_in_a_zone_of_several(database: MariaDB) -> None:
    with zone(database, size=1, start=False) as started:
        (server,) = started.servers
        database.sql(f"DROP DATABASE {server.name}; CREATE DATABASE {server.name}")
        server.start(wait=False)
        assert server.process is not None
        assert server.process.wait(timeout=10) == 255
        output = (server.folder / "output").read_text()
        assert "Database has to be bootstraped to start oned in HA" in output


def test_hooks_run_when_the_part_changes(database: MariaDB) -> None:
    with zone(database, start=False) as started:
        for server in started.servers:
            hook = server.folder / "hook.sh"
            server.folder.mkdir(exist_ok=True)
            hook.write_text(f'#!/bin/sh\necho "$1" >>{server.folder}/parts\n')
            hook.chmod(0o755)
            server.extra = "".join(
                f'RAFT_{part.upper()}_HOOK = [ COMMAND = "{hook}", ARGUMENTS = "{part} eth0" ]\n'
                for part in ("leader", "follower")
            )
            server.start(wait=False)
        for server in started.servers:
            wait_for(server.answers, 15, "it to answer")
        leader = started.wait_for_leader()
        read: Callable[[Server], list[str]] = lambda one: (  # noqa: E731
            (one.folder / "parts").read_text().split()
        )
        wait_for(lambda: read(leader) == ["follower", "leader"], 5, "the leader hook")
        leader.stop()
        wait_for(lambda: read(leader) == ["follower", "leader", "follower"], 5, "the last hook")
        second = started.wait_for_leader()
        second.kill()
        time.sleep(0.5)
        assert read(second)[-1] == "leader"
