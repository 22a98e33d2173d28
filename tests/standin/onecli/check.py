"""What ``onedb fsck`` looks at: ids given, and owners that exist."""

from __future__ import annotations

from onecli.connection import Connection

_POOLS = (
    "cluster_pool", "datastore_pool", "document_pool", "group_pool", "host_pool", "image_pool",
    "network_pool", "secgroup_pool", "template_pool", "user_pool", "vm_pool", "zone_pool",
)  # fmt: skip
_OWNED = ("document_pool", "image_pool", "template_pool", "vm_pool", "network_pool")


def check(connection: Connection, *, dry: bool) -> tuple[int, int]:
    """Look for faults and repair them unless *dry*.

    :returns: how many were found and repaired.
    """
    found = repaired = 0
    for table in _POOLS:
        highest = connection.run(f"SELECT MAX(oid) FROM {table}")[0][0]
        if highest is None:
            continue
        rows = connection.run("SELECT last_oid FROM pool_control WHERE tablename = %s", (table,))
        if rows and int(rows[0][0]) >= int(highest):
            continue
        found += 1
        print(
            f"[{'UNREPAIRED' if dry else 'REPAIRED'}] pool_control for table {table} is lower "
            f"than its highest ID {highest}"
        )
        if not dry:
            connection.run(
                "REPLACE INTO pool_control (tablename, last_oid) VALUES (%s, %s)",
                (table, highest),
            )
            repaired += 1
    for table in _OWNED:
        orphans = connection.run(
            f"SELECT oid, uid FROM {table} WHERE uid NOT IN (SELECT oid FROM user_pool)"
        )
        for oid, uid in orphans:
            found += 1
            print(f"[UNREPAIRED] {table} {oid} belongs to user {uid}, who does not exist")
    return found, repaired
