"""The migrator from schema 6.10.0 to 7.0.0 (source: its counterpart in 7.0.2).

Which tables it touches and how is the real one's doing: documents of a type other
than 100 and 101 are dropped without a word, ``vm_pool`` gets a column, histories
and images an element, and each row costs the same time again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onecli.connection import Connection
from onecore import release, tables
from onecore.template import cdata

FROM, TO = "6.10.0", "7.0.0"
_KEPT_DOCUMENTS = (100, 101)
_ROW_MS = 2.0
"""Measured: 42 s for 10,000 machines of one history record each."""


def row_time_s(delays: Path) -> float:
    """Seconds a row of ``vm_pool`` and ``history`` takes: MIGRATE_ROW_MS, else the real 2 ms."""
    if delays.exists():
        for line in delays.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "MIGRATE_ROW_MS":
                return float(value) / 1000
    return _ROW_MS / 1000


def migrate(connection: Connection, row_s: float) -> None:
    """Bring the local tables to 7.0.0; the shared ones need nothing.

    :raises MySQLdb.Error: if the database refuses.
    """
    _Migration(connection, row_s).run()


class _Migration:
    def __init__(self, connection: Connection, row_s: float) -> None:
        self._connection = connection
        self._row_s = row_s
        self._target = release.Release("7.0.2", TO)

    def run(self) -> None:
        self._drop_imports()
        self._rewrite("document_pool", self._document, keep=self._is_kept)
        self._rewrite("image_pool", self._image)
        self._rewrite("vm_pool", self._machine, slow=True)
        self._add_plans()
        self._rewrite("history", self._history, slow=True)

    def _drop_imports(self) -> None:
        # Only if there are any; an empty table stays, as in the real one.
        if "vm_import" not in self._connection.tables():
            return
        imported = self._connection.run("SELECT vmid FROM vm_import")
        if imported:
            self._connection.run("DROP TABLE vm_import")
            for (vm,) in imported:
                self._connection.run(
                    "UPDATE vm_pool SET state = 6, lcm_state = 0 WHERE oid = %s", (vm,)
                )

    def _rewrite(
        self,
        table: str,
        change: Callable[[dict[str, Any]], None],
        *,
        keep: Callable[[dict[str, Any]], bool] = lambda row: True,
        slow: bool = False,
    ) -> None:
        connection = self._connection
        old = f"old_{table}"
        connection.run(f"DROP TABLE IF EXISTS {old}")
        connection.run(f"ALTER TABLE {table} RENAME TO {old}")
        connection.run(tables.create(table, self._target))
        names = [str(row[0]) for row in connection.run(f"SHOW COLUMNS FROM {old}")]
        with connection.transaction():
            for values in connection.run(f"SELECT * FROM {old}"):
                started = time.monotonic()
                row = dict(zip(names, values, strict=True))
                if not keep(row):
                    continue
                change(row)
                if slow:
                    self._ask_encoding(old)
                marks = ",".join(["%s"] * len(row))
                connection.run(
                    f"INSERT INTO {table} ({','.join(row)}) VALUES ({marks})",
                    tuple(row.values()),
                )
                left = self._row_s - (time.monotonic() - started)
                if slow and left > 0:
                    time.sleep(left)
        connection.run(f"DROP TABLE {old}")

    def _ask_encoding(self, table: str) -> None:
        # Asked anew for each row; this is what makes the real one slow.
        self._connection.run(
            "SELECT CCSA.character_set_name FROM information_schema.TABLES T, "
            "information_schema.COLLATION_CHARACTER_SET_APPLICABILITY CCSA "
            "WHERE CCSA.collation_name = T.table_collation AND T.table_schema = %s "
            "AND T.table_name = %s",
            (self._connection.address.name, table),
        )

    @staticmethod
    def _is_kept(row: dict[str, Any]) -> bool:
        return row["type"] in _KEPT_DOCUMENTS

    @staticmethod
    def _document(row: dict[str, Any]) -> None:
        body = str(row["body"])
        start = body.find("<BODY><![CDATA[")
        end = body.find("]]></BODY>")
        if start < 0 or end < 0:
            return
        content = json.loads(body[start + 15 : end])
        for role in content.get("roles", []):
            if "vm_template" in role:
                role["template_id"] = role.pop("vm_template")
            role["type"] = "vm"
        changed = f"<BODY>{cdata(json.dumps(content, separators=(',', ':')))}</BODY>"
        row["body"] = body[:start] + changed + body[end + 10 :]

    @staticmethod
    def _image(row: dict[str, Any]) -> None:
        body = str(row["body"])
        start = body.find("<REGTIME>")
        registered = body[start + 9 : body.find("</REGTIME>", start)] if start >= 0 else ""
        row["body"] = body.replace("</IMAGE>", f"<MODTIME>{registered}</MODTIME></IMAGE>")

    @staticmethod
    def _machine(row: dict[str, Any]) -> None:
        row["resched"] = int("<RESCHED>1</RESCHED>" in str(row["body"]))

    @staticmethod
    def _history(row: dict[str, Any]) -> None:
        row["body"] = str(row["body"]).replace(
            "</HISTORY>", "<PLAN_ID>-2</PLAN_ID><ACTION_ID>-1</ACTION_ID></HISTORY>"
        )

    def _add_plans(self) -> None:
        self._connection.run(tables.create("plan_pool", self._target))
        clusters = [row[0] for row in self._connection.run("SELECT oid FROM cluster_pool")]
        for cid in (-1, *clusters):
            self._connection.run(
                "INSERT INTO plan_pool (cid, state, body) VALUES (%s, -1, %s)",
                (cid, f"<PLAN><ID>{cid}</ID><STATE>-1</STATE></PLAN>"),
            )
