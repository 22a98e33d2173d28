"""A copy migrated ahead on a real node, followed in batches, against one migrated whole.

The tests go down one road, and each begins where the one before it ended.
"""
# ruff: noqa: S608 - statements of the tests' own

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.integration.frontend_lab import Lab, endpoint, found_zone, front_ends

from onebaton.adapters import aheadsql, copyscripts, onedb, raftlog
from onebaton.adapters.ahead import AheadDatabases
from onebaton.adapters.mariadb import NodeDatabase, literal
from onebaton.adapters.migrations import SshMigrations, contents_of
from onebaton.config import DatabaseConfig
from onebaton.errors import RefusedError, StepFailedError
from onebaton.migration import AheadProof, Contents
from onebaton.model import AheadStage, Host, LogPosition, Server

pytestmark = pytest.mark.integration

REFERENCE = "whole"
LEFT_ALONE = ("logdb", "pool_control", "template_pool", "cluster_pool", "user_pool")
VMS = 1500


@dataclass
class Road:
    """A source that held a zone, and a node with the next release."""

    lab: Lab
    source: Host
    node: Host
    ahead: AheadDatabases
    own: Server
    reports: list[str] = field(default_factory=list)

    def sql(self, host: Host, database: str, statements: str) -> list[tuple[str, ...]]:
        return NodeDatabase(self.lab.ssh, host, database).rows(
            statements, what="testing", timeout_s=60
        )

    def write(self, *statements: str) -> int:
        """What a leader does: run each statement, and keep it as a record of the log.

        :returns: index of the last record.
        """
        ((last, term),) = self.sql(
            self.source,
            "opennebula",
            f"SELECT log_index, term FROM logdb WHERE log_index <> {raftlog.NO_INDEX} "
            "ORDER BY log_index DESC LIMIT 1",
        )
        script = []
        index = int(last)
        for statement in statements:
            index += 1
            record = literal(raftlog.encode(statement.encode()))
            script.append(
                f"{statement};\nINSERT INTO logdb VALUES ({index}, {term}, {record}, "
                f"{1763800000 + index}, {raftlog.NO_INDEX}, 1)"
            )
        self.sql(self.source, "opennebula", ";\n".join(script))
        return index

    def contents(self, database: str) -> Contents:
        return contents_of(NodeDatabase(self.lab.ssh, self.node, database))

    def whole(self) -> Contents:
        """The warm database of this moment, migrated whole."""
        script = copyscripts.duplicate_script(
            source="opennebula_warm", copy=REFERENCE, user="oneadmin"
        )
        self.lab.ssh.run(self.node, script, timeout_s=60, what="copying")
        onedb.upgrade_beside(self.lab.ssh, self.node, REFERENCE, user="oneadmin", timeout_s=60)
        return self.contents(REFERENCE)

    def unequal(self) -> list[str]:
        """Tables in which the copy differs from one migrated whole, but for the time stamps."""
        here, there = self.contents("opennebula"), self.whole()
        assert here.rows.keys() == there.rows.keys()
        assert len(here.rows) > 35
        return [
            name
            for name in here.rows
            if name not in aheadsql.VERSIONS
            and (here.sums[name], here.shapes[name], here.rows[name])
            != (there.sums[name], there.shapes[name], there.rows[name])
        ]

    def patch(self, before: str, after: str) -> None:
        """Change the node's migrator."""
        text = self.lab.sh(self.node, f"cat {self.migrator}")
        assert before in text
        changed = text.replace(before, after)
        self.lab.podman.run(
            ["exec", "--interactive", self.node.name, "sh", "-c", f"cat > {self.migrator}"],
            stdin=changed + "\n",
            timeout_s=20,
        )

    @property
    def migrator(self) -> str:
        return self.lab.sh(self.node, "dpkg -L opennebula-tools | grep '/migration.py$'")


def _vm(oid: int, state: int = 3) -> str:
    body = f"<VM><ID>{oid}</ID><RESCHED>{oid % 2}</RESCHED><N>grün {oid}</N></VM>"
    return (
        "REPLACE INTO vm_pool (oid, name, body, uid, gid, state, lcm_state, owner_u, group_u, "
        f"other_u, short_body, body_json) VALUES ({oid}, 'vm-{oid}', '{body}', 0, 0, {state}, 3, "
        f"1, 0, 0, '{body}', '{{\"ID\": {oid}}}')"
    )


def _history(vid: int, seq: int, etime: int = 0) -> str:
    body = f"<HISTORY><OID>{vid}</OID><SEQ>{seq}</SEQ><ETIME>{etime}</ETIME></HISTORY>"
    return (
        "REPLACE INTO history (vid, seq, body, stime, etime) "
        f"VALUES ({vid}, {seq}, '{body}', 7, {etime})"
    )


def _document(oid: int, kind: int, content: str = "{}") -> str:
    body = (
        f"<DOCUMENT><ID>{oid}</ID><TEMPLATE><BODY><![CDATA[{content}]]></BODY></TEMPLATE>"
        "</DOCUMENT>"
    )
    return (
        "INSERT INTO document_pool (oid, name, body, type, uid, gid, owner_u, group_u, other_u) "
        f"VALUES ({oid}, 'd-{oid}', '{body}', {kind}, 0, 0, 1, 0, 0)"
    )


def _named(table: str, oid: int, name: str, root: str) -> str:
    body = f"<{root}><ID>{oid}</ID><NAME>{name}</NAME><REGTIME>5</REGTIME></{root}>"
    return (
        f"INSERT INTO {table} (oid, name, body, uid, gid, owner_u, group_u, other_u) "
        f"VALUES ({oid}, '{name}', '{body}', 0, 0, 1, 0, 0)"
    )


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    folder = tmp_path_factory.mktemp("ahead")
    with front_ends(folder, 2, versions=("7.0.2",), subnet="10.201.31") as lab:
        node, source = lab.hosts
        found_zone(lab, source)
        lab.frontends.stop(source, mask=True, timeout_s=60)
        lab.frontends.configure(node, server_id=1, election_timeout_ms=1000)
        lab.sh(node, "echo MIGRATE_ROW_MS=0.2 >> /etc/one/standin.conf")
        database = AheadDatabases(lab.ssh, database=DatabaseConfig(), port=2633)
        road = Road(lab, source, node, database, Server(1, "n1", endpoint(node)))
        rows = ";".join([_vm(oid) + ";" + _history(oid, 0) for oid in range(VMS)])
        road.sql(source, "opennebula", f"START TRANSACTION;{rows};COMMIT")
        road.write(
            *(_document(oid, 100 if oid % 3 else 999) for oid in range(30)),
            *(_named("image_pool", oid, f"image-{oid}", "IMAGE") for oid in range(20)),
            _named("template_pool", 0, "template", "VMTEMPLATE"),
        )
        yield road
        sys.stdout.write("".join(f"\n{line}" for line in road.reports))


def test_nothing_is_begun_without_a_complete_seed(road):
    with pytest.raises(RefusedError, match="no complete seed"):
        road.ahead.begin(road.node, timeout_s=60)
    assert road.ahead.stage(road.node) is None


def test_the_seed_is_set_aside_and_its_copy_migrated_whole(road):
    road.lab.frontends.seed(road.source, [road.node], timeout_s=60)
    begin = time.monotonic()
    run = road.ahead.begin(road.node, timeout_s=120)
    road.reports.append(f"begin: {time.monotonic() - begin:.2f} s, onedb {run.seconds:.2f} s")
    assert run.status == 0
    assert road.ahead.stage(road.node) is AheadStage.MIGRATED
    ((warm,),) = road.sql(road.node, "opennebula_warm", "SELECT version FROM db_versioning")
    assert warm == "6.10.0"
    assert road.lab.frontends.facts(road.node).schema.shared == "7.0.0"
    assert road.unequal() == []


def test_a_seed_is_set_aside_once(road):
    before = road.contents("opennebula_warm")
    # As after a crash in the middle of the copy.
    road.ahead.set_stage(road.node, AheadStage.WARM)
    road.sql(road.node, "mysql", "DROP DATABASE opennebula; CREATE DATABASE opennebula")
    road.ahead.begin(road.node, timeout_s=120)
    assert road.contents("opennebula_warm") == before
    assert road.unequal() == []


def test_changed_rows_of_every_kind_come_over(road):
    road.write(
        _vm(VMS),
        _vm(7, state=6),
        "DELETE FROM vm_pool WHERE oid = 8",
        "UPDATE vm_pool SET state = 8, body = REPLACE(body, '<RESCHED>0', '<RESCHED>1') "
        "WHERE oid IN (10, 11, 12)",
        _history(VMS, 0),
        _history(7, 1),
        _history(7, 0, etime=9),
        "UPDATE history SET seq = 5 WHERE vid = 9 AND seq = 0",
        "DELETE FROM history WHERE vid = 8",
        _document(100, 100, '{"roles":[{"vm_template":3,"name":"a"}]}'),
        _document(101, 999),
        "UPDATE document_pool SET type = 999 WHERE oid = 1",
        "UPDATE document_pool SET type = 101 WHERE oid = 3",
        "DELETE FROM document_pool WHERE oid = 2",
        # The name changes hands, under a unique index that is not the key.
        "UPDATE image_pool SET name = 'other' WHERE oid = 0",
        "UPDATE image_pool SET name = 'image-0' WHERE oid = 1",
        "UPDATE image_pool SET name = 'image-1' WHERE oid = 0",
        _named("cluster_pool", 100, "new", "CLUSTER"),
        "INSERT INTO cluster_network_relation VALUES (100, 1), (100, 2), (0, 3)",
        "DELETE FROM cluster_network_relation WHERE oid = 2",
        "REPLACE INTO pool_control (tablename, last_oid) VALUES ('vm_pool', 1500)",
        "INSERT INTO system_attributes VALUES ('X', '<X/>')",
    )
    begin = time.monotonic()
    batch = road.ahead.follow(road.source, road.node, timeout_s=60)
    road.reports.append(
        f"follow of {batch.records} records, next batch made ready: "
        f"{time.monotonic() - begin:.2f} s, onedb {batch.migrator_s:.2f} s"
    )
    assert batch.records == 22
    assert batch.migrator_s > 0
    rows = dict(batch.rows)
    assert (rows["vm_pool"], rows["history"], rows["document_pool"]) == (6, 6, 5)
    assert rows["logdb"] == 22
    assert road.unequal() == []
    documents = "SELECT COUNT(*) FROM document_pool WHERE oid IN (1, 101)"
    assert road.sql(road.node, "opennebula", documents) == [("0",)]
    plans = "SELECT COUNT(*) FROM plan_pool WHERE cid = 100"
    assert road.sql(road.node, "opennebula", plans) == [("1",)]


def test_the_last_batch_costs_little_besides_the_migrator(road):
    road.write(_vm(20, state=1))
    road.ahead.follow(road.source, road.node, timeout_s=60)
    index = road.write(_vm(VMS + 1), _history(VMS + 1, 0), _document(200, 100))
    begin = time.monotonic()
    batch = road.ahead.follow(road.source, road.node, up_to=index, timeout_s=60)
    seconds = time.monotonic() - begin
    road.reports.append(f"last follow: {seconds:.2f} s, onedb {batch.migrator_s:.2f} s")
    assert batch.reached == LogPosition(index, index, batch.reached.term)
    assert batch.records == 3
    begin = time.monotonic()
    assert road.ahead.differing_rows(road.source, road.node) == ()
    road.reports.append(f"comparing rows: {time.monotonic() - begin:.2f} s")
    assert road.unequal() == []


def test_a_row_that_differs_from_the_source_is_named(road):
    road.sql(road.node, "opennebula_warm", f"UPDATE vm_pool SET uid = 5 WHERE oid = {VMS + 1}")
    # The note is open again; nothing was followed.
    road.sql(road.node, "opennebula_changes", f"UPDATE vm_pool SET {aheadsql.USED} = 1")
    assert road.ahead.differing_rows(road.source, road.node) == ("vm_pool",)
    road.sql(road.node, "opennebula_warm", f"UPDATE vm_pool SET uid = 0 WHERE oid = {VMS + 1}")
    # Nothing to ship: what changed in the warm database comes over all the same.
    assert road.ahead.follow(road.source, road.node, timeout_s=60).rows == {"vm_pool": 1}
    assert road.ahead.differing_rows(road.source, road.node) == ()
    assert road.unequal() == []
    # What brings nothing forgets nothing of what the last one named.
    assert road.ahead.follow(road.source, road.node, timeout_s=60).rows == {}
    used = f"SELECT COUNT(*) FROM vm_pool WHERE {aheadsql.USED} = 1"
    assert road.sql(road.node, "opennebula_changes", used) == [("1",)]


def test_tables_that_the_migrator_leaves_alone_need_none(road):
    road.sql(
        road.node,
        "opennebula_changes",
        f"UPDATE {aheadsql.TABLES} SET is_whole = 0 WHERE name IN ('template_pool','pool_control')",
    )
    road.write(
        "UPDATE template_pool SET uid = 3 WHERE oid = 0",
        "REPLACE INTO pool_control (tablename, last_oid) VALUES ('template_pool', 0)",
    )
    batch = road.ahead.follow(road.source, road.node, left_alone=LEFT_ALONE, timeout_s=60)
    assert batch.migrator_s == 0
    assert dict(batch.rows) == {"logdb": 2, "pool_control": 1, "template_pool": 1}
    assert road.unequal() == []
    # A new table may be made of small ones, whether the migrator changes these or not.
    road.write(_named("cluster_pool", 101, "newer", "CLUSTER"))
    batch = road.ahead.follow(road.source, road.node, left_alone=LEFT_ALONE, timeout_s=60)
    assert batch.migrator_s > 0
    assert road.unequal() == []
    plans = "SELECT COUNT(*) FROM plan_pool WHERE cid = 101"
    assert road.sql(road.node, "opennebula", plans) == [("1",)]


def test_what_is_the_nodes_own_stays(road):
    state = "<RAFT><TERM>77</TERM><VOTEDFOR>1</VOTEDFOR></RAFT>"
    road.sql(
        road.node,
        "opennebula",
        f"REPLACE INTO system_attributes VALUES ('RAFT_STATE', '{state}')",
    )
    road.ahead.held_list(road.node, server=road.own)
    road.write(
        "UPDATE zone_pool SET name = 'Renamed', body = REPLACE(REPLACE(body, "
        "'<NAME>OpenNebula</NAME>', '<NAME>Renamed</NAME>'), '<STATE>0', '<STATE>1')",
        "UPDATE system_attributes SET body = '<Y/>' WHERE name = 'X'",
    )
    road.ahead.follow(road.source, road.node, timeout_s=60)
    ((name, body),) = road.sql(road.node, "opennebula", "SELECT name, body FROM zone_pool")
    assert name == "Renamed"
    assert "<NAME>Renamed</NAME><STATE>0</STATE>" in body
    assert body.count("<SERVER>") == 3
    assert f"<![CDATA[{endpoint(road.node)}]]>" in body
    assert endpoint(road.source) not in body
    assert "127.0.0.1:2/RPC2" in body
    attributes = dict(road.sql(road.node, "opennebula", "SELECT name, body FROM system_attributes"))
    assert attributes["RAFT_STATE"] == state
    assert attributes["X"] == "<Y/>"
    assert road.unequal() == ["system_attributes", "zone_pool"]


def test_a_batch_that_was_interrupted_is_made_again(road, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place, name in (
        ("aheadcopy.AheadCopy", "bring"),
        ("aheadcopy", "upgrade_beside"),
        ("aheadcopy.AheadCopy", "_fit"),
        ("ahead.AheadDatabases", "_require_level"),
    ):
        road.write(_vm(30, state=1), _history(30, 0, etime=1), "DELETE FROM vm_pool WHERE oid = 31")
        with monkeypatch.context() as patch:
            patch.setattr(f"onebaton.adapters.{place}.{name}", interrupted)
            with pytest.raises(KeyboardInterrupt):
                road.ahead.follow(road.source, road.node, timeout_s=60)
        road.write(_vm(31))
        batch = road.ahead.follow(road.source, road.node, timeout_s=60)
        assert batch.rows["vm_pool"] >= 1, name
        assert road.ahead.differing_rows(road.source, road.node) == ()
        assert road.unequal() == ["system_attributes", "zone_pool"], name


def test_a_failing_migrator_leaves_the_copy_as_it_was(road):
    before = road.contents("opennebula")
    good = 'row["resched"] = '
    bad = f'int("no number" if row["oid"] == 40 else "0"); {good}'
    road.patch(good, bad)
    road.write(_vm(40))
    try:
        with pytest.raises(StepFailedError, match="onedb upgrade of opennebula_batch") as caught:
            road.ahead.follow(road.source, road.node, timeout_s=60)
    finally:
        road.patch(bad, good)
    assert any("no number" in line for line in caught.value.details)
    assert road.contents("opennebula") == before
    road.ahead.follow(road.source, road.node, timeout_s=60)
    assert road.unequal() == ["system_attributes", "zone_pool"]


def test_lists_are_written_whatever_runs(road):
    road.ahead.list_alone(road.node, server=road.own)
    ((body,),) = road.sql(road.node, "opennebula", "SELECT body FROM zone_pool")
    assert body.count("<SERVER>") == 1
    assert f"<![CDATA[{endpoint(road.node)}]]>" in body
    assert "<STATE>0</STATE>" in body


def test_what_was_written_is_told_from_the_log(road):
    ((last,),) = road.sql(road.source, "opennebula", "SELECT MAX(log_index) FROM logdb")
    road.write(_document(300, 100), _document(301, 100), "DELETE FROM document_pool WHERE oid=300")
    index = road.write("UPDATE pool_control SET last_oid = 301 WHERE tablename = 'document_pool'")
    road.ahead.follow(road.source, road.node, timeout_s=60)
    written = road.ahead.written_since(road.node, int(last))
    assert written.records == 4
    assert written.objects == {"document_pool": 3}
    assert (written.first_at, written.last_at) == (1763800001 + int(last), 1763800000 + index)
    assert road.ahead.written_since(road.node, index).records == 0
    assert road.ahead.written_since(road.node, index).first_at is None


def test_warm_sums_are_those_of_the_source(road):
    there = road.lab.frontends.table_checksums(road.source)
    here = road.ahead.warm_checksums(road.node)
    assert here[0] == there[0]
    assert here[1] == there[1]
    assert len(here[1]) > 30


def test_a_released_node_is_not_begun_anew(road):
    road.ahead.set_stage(road.node, AheadStage.RELEASED)
    before = road.contents("opennebula")
    with pytest.raises(RefusedError, match="may have taken writes"):
        road.ahead.begin(road.node, timeout_s=60)
    assert road.contents("opennebula") == before


def _databases(road: Road) -> set[str]:
    return {name for (name,) in road.sql(road.node, "mysql", "SHOW DATABASES")}


def test_what_only_the_way_needed_goes(road):
    before = road.contents("opennebula")
    road.ahead.settle(road.node)
    assert road.ahead.stage(road.node) is None
    assert {name for name in _databases(road) if name.startswith("opennebula")} == {"opennebula"}
    assert road.contents("opennebula") == before
    road.ahead.settle(road.node)
    assert road.ahead.discard(road.node)
    assert "opennebula" not in _databases(road)
    assert not road.ahead.discard(road.node)


def test_the_plain_way_migrates_the_nodes_own_database(road):
    road.lab.frontends.seed(road.source, [road.node], timeout_s=60)
    road.ahead.list_alone(road.node, server=road.own)
    good = 'row["resched"] = '
    bad = f'int("no number" if row["oid"] == 40 else "0"); {good}'
    road.patch(good, bad)
    try:
        with pytest.raises(StepFailedError, match="ended with status 255"):
            road.ahead.upgrade(road.node, timeout_s=60)
    finally:
        road.patch(bad, good)
    # What it left is not migrated a second time.
    with pytest.raises(RefusedError, match="did not end well"):
        road.ahead.upgrade(road.node, timeout_s=60)
    road.lab.frontends.seed(road.source, [road.node], timeout_s=60)
    assert road.ahead.upgrade(road.node, timeout_s=60).status == 0
    assert road.ahead.upgrade(road.node, timeout_s=60).status == 0
    assert road.lab.frontends.facts(road.node).schema.shared == "7.0.0"


# The rehearsal's proof


@pytest.fixture(scope="module")
def migrations(road: Road) -> SshMigrations:
    return SshMigrations(
        road.lab.ssh, database=DatabaseConfig(), vip=road.lab.vip.address, port=2633, ssh_port=22
    )


def _prove(road: Road, migrations: SshMigrations) -> AheadProof:
    """What a rehearsal does, with writes meanwhile."""
    migrations.clear(road.node)
    road.lab.frontends.seed(road.source, [road.node], timeout_s=60)
    assert migrations.past(road.node, timeout_s=120) > 300
    held_back = road.sql(road.node, "opennebula_ahead", "SELECT COUNT(*) FROM vm_pool")
    assert int(held_back[0][0]) < VMS - 100
    road.write(
        _vm(50, state=5),
        "DELETE FROM vm_pool WHERE oid = 52",
        _vm(52),
        _history(50, 1),
        "DELETE FROM history WHERE vid = 60",
        _history(60, 0),
    )
    road.lab.frontends.ship_log(road.source, road.node)
    migrations.copy(road.node, timeout_s=60)
    assert migrations.upgrade(road.node, timeout_s=120).status == 0
    return migrations.prove(road.node, timeout_s=120)


def test_a_migrator_that_goes_row_by_row_is_proven(road, migrations):
    proof = _prove(road, migrations)
    road.reports.append(
        f"proof: last batch {proof.seconds:.2f} s, onedb {proof.migrator_s:.2f} s, "
        f"{sum(proof.rows.values())} rows"
    )
    assert proof.differing == ()
    assert proof.equal
    assert proof.rows["vm_pool"] > 300
    assert proof.rows["history"] > 300
    assert proof.rows["document_pool"] > 10
    assert 0 < proof.migrator_s < proof.seconds
    assert [stamp.partition(":")[0] for stamp in proof.stamps] == [
        "db_versioning.timestamp",
        "local_db_versioning.timestamp",
    ]
    # The rehearsal goes on with its copy; nothing is noted any more.
    left = {name for name in _databases(road) if name.startswith("opennebula")}
    assert left == {"opennebula", "opennebula_rehearsal"}
    triggers = "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    assert road.sql(road.node, "opennebula", triggers) == [("0",)]


@pytest.mark.parametrize(
    ("table", "good", "bad"),
    [
        ("vm_pool", 'row["resched"] = ', '_N.append(0); row["resched"] = 10 * len(_N) + '),
        # Small ones go through the migrator whole, and are found out all the same.
        ("image_pool", 'body = str(row["body"])\n        start = body.find("<REGTIME>")',
         '_N.append(0); row["group_u"] = len(_N)\n        body = str(row["body"])\n'
         '        start = body.find("<REGTIME>")'),
    ],
)  # fmt: skip
def test_a_migrator_that_numbers_rows_is_found_out(road, migrations, table, good, bad):
    road.patch(good, bad)
    road.patch("FROM, TO = ", "_N: list[int] = []\nFROM, TO = ")
    try:
        proof = _prove(road, migrations)
    finally:
        road.patch("_N: list[int] = []\nFROM, TO = ", "FROM, TO = ")
        road.patch(bad, good)
    assert not proof.equal
    assert proof.differing == (f"{table}: other contents",)


def test_an_interrupted_proof_is_cleared_away(road, migrations):
    migrations.past(road.node, timeout_s=120)
    migrations.past(road.node, timeout_s=120)
    assert migrations.clear(road.node)
    assert {name for name in _databases(road) if name.startswith("opennebula")} == {"opennebula"}
    triggers = "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    assert road.sql(road.node, "opennebula", triggers) == [("0",)]
    assert not migrations.clear(road.node)
