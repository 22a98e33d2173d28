"""Rows and checksums of a copy, read from a real MariaDB."""

import shutil

import pytest
from tests.integration.mariadbd import SCHEMA, LocalDatabase, mariadb_servers

from onebaton.adapters.migrations import contents_of
from onebaton.plan.rehearsal import compare

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("mariadbd") is None, reason="MariaDB's server is not here"),
]

MIGRATE = """
DELETE FROM document_pool WHERE type NOT IN (100, 101);
UPDATE user_pool SET body = '<USER/>';
ALTER TABLE pool_control ADD COLUMN more INTEGER;
DROP TABLE host_monitoring;
CREATE TABLE plan_pool (cid INTEGER PRIMARY KEY);
"""


def test_every_table_is_counted_and_what_a_migration_did_is_seen(
    tmp_path_factory: pytest.TempPathFactory,
):
    with mariadb_servers(tmp_path_factory.mktemp("m"), 1) as (socket,):
        admin = LocalDatabase(socket, "mysql", "admin")
        admin.change("CREATE DATABASE copied", what="making", timeout_s=10)
        database = LocalDatabase(socket, "copied", "node")
        assert contents_of(database).rows == {}
        documents = ", ".join(
            f"({oid}, 'd', '<D/>', {100 if oid < 3 else 999}, 0, 0, 1, 0, 0)" for oid in range(10)
        )
        database.change(
            f"{SCHEMA}\nINSERT INTO document_pool VALUES {documents};\n"
            "INSERT INTO user_pool VALUES (0, 'a', '<U/>', 0, 0, 1, 1, 1);\n"
            "INSERT INTO pool_control VALUES ('user_pool', 0);",
            what="making tables",
            timeout_s=10,
        )
        before = contents_of(database)
        database.change(MIGRATE, what="migrating", timeout_s=10)
        changes = {table.name: table for table in compare(before, contents_of(database))}

    assert (changes["document_pool"].before, changes["document_pool"].after) == (10, 3)
    assert {name: table.change for name, table in changes.items()} == {
        "db_versioning": "left alone",
        "document_pool": "lost rows",
        "host_monitoring": "gone",
        "local_db_versioning": "left alone",
        "logdb": "left alone",
        "plan_pool": "new",
        "pool_control": "changed",
        "system_attributes": "left alone",
        "user_pool": "changed",
    }
