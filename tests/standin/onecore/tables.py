"""Tables of an OpenNebula database (source: ``OneDB.cc``, ``SystemDB.cc``).

Names and columns are the real ones; the database tells the tool nothing else.
"""

from __future__ import annotations

from onecore.release import Release

_OWNED = "uid INTEGER, gid INTEGER, owner_u INTEGER, group_u INTEGER, other_u INTEGER"
_POOL = f"oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT, {_OWNED}"

_PLAIN: dict[str, str] = {
    "acl": "oid INT PRIMARY KEY, userset BIGINT, resource BIGINT, rights BIGINT, zone BIGINT, "
    "UNIQUE(userset, resource, rights, zone)",
    "backupjob_pool": f"{_POOL}, priority INTEGER, outdated_vms INTEGER",
    "cluster_datastore_relation": "cid INTEGER, oid INTEGER, PRIMARY KEY(cid, oid)",
    "cluster_network_relation": "cid INTEGER, oid INTEGER, PRIMARY KEY(cid, oid)",
    "cluster_pool": f"{_POOL}, UNIQUE(name)",
    "cluster_vnc_bitmap": "id INTEGER, map LONGTEXT, PRIMARY KEY(id)",
    "datastore_pool": _POOL,
    "db_versioning": "oid INTEGER PRIMARY KEY, version VARCHAR(256), timestamp INTEGER, "
    "comment VARCHAR(256)",
    "document_pool": "oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT, "
    f"type INTEGER, {_OWNED}",
    "group_pool": f"{_POOL}, UNIQUE(name)",
    "group_quotas": "group_oid INTEGER PRIMARY KEY, body MEDIUMTEXT",
    "history": "vid INTEGER, seq INTEGER, body MEDIUMTEXT, stime INTEGER, etime INTEGER, "
    "PRIMARY KEY(vid, seq)",
    "hook_log": "hkid INTEGER, exeid INTEGER, timestamp INTEGER, rc INTEGER, body MEDIUMTEXT, "
    "PRIMARY KEY(hkid, exeid)",
    "hook_pool": f"{_POOL}, type INTEGER",
    "host_monitoring": "hid INTEGER, last_mon_time INTEGER, body MEDIUMTEXT, "
    "PRIMARY KEY(hid, last_mon_time)",
    "host_pool": "oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT, state INTEGER, "
    f"{_OWNED}, cid INTEGER",
    "image_pool": f"{_POOL}, UNIQUE(name, uid)",
    "local_db_versioning": "oid INTEGER PRIMARY KEY, version VARCHAR(256), timestamp INTEGER, "
    "comment VARCHAR(256), is_slave BOOLEAN",
    "logdb": "log_index BIGINT UNSIGNED PRIMARY KEY, term INTEGER, sqlcmd MEDIUMTEXT, "
    "timestamp INTEGER, fed_index BIGINT UNSIGNED, applied BOOLEAN",
    "marketplace_pool": _POOL,
    "marketplaceapp_pool": f"{_POOL}, UNIQUE(name, uid)",
    "network_pool": f"{_POOL}, pid INTEGER, UNIQUE(name, uid)",
    "network_vlan_bitmap": "id INTEGER, map LONGTEXT, PRIMARY KEY(id)",
    "pool_control": "tablename VARCHAR(32) PRIMARY KEY, last_oid BIGINT UNSIGNED",
    "schedaction_pool": "oid INTEGER PRIMARY KEY, parent_id INTEGER, type VARCHAR(128), "
    "body MEDIUMTEXT, time INTEGER, done INTEGER",
    "secgroup_pool": f"{_POOL}, UNIQUE(name, uid)",
    "system_attributes": "name VARCHAR(128) PRIMARY KEY, body MEDIUMTEXT",
    "template_pool": _POOL,
    "user_pool": f"{_POOL}, UNIQUE(name)",
    "user_quotas": "user_oid INTEGER PRIMARY KEY, body MEDIUMTEXT",
    "vdc_pool": f"{_POOL}, UNIQUE(name)",
    "vm_monitoring": "vmid INTEGER, last_poll INTEGER, body MEDIUMTEXT, "
    "PRIMARY KEY(vmid, last_poll)",
    "vm_showback": "vmid INTEGER, year INTEGER, month INTEGER, body MEDIUMTEXT, "
    "PRIMARY KEY(vmid, year, month)",
    "vmgroup_pool": f"{_POOL}, UNIQUE(name, uid)",
    "vn_template_pool": _POOL,
    "vrouter_pool": _POOL,
    "zone_pool": f"{_POOL}, UNIQUE(name)",
}

_VM_HEAD = (
    "oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT, uid INTEGER, gid INTEGER, "
    "state INTEGER, lcm_state INTEGER, "
)
_VM_TAIL = (
    "owner_u INTEGER, group_u INTEGER, other_u INTEGER, short_body MEDIUMTEXT, body_json JSON"
)
_OLD = {
    "vm_import": "deploy_id VARCHAR(128), vmid INTEGER, PRIMARY KEY(deploy_id)",
    "vm_pool": _VM_HEAD + _VM_TAIL,
}
_NEW = {
    "plan_pool": "cid INTEGER PRIMARY KEY, state INTEGER, body MEDIUMTEXT",
    "vm_pool": f"{_VM_HEAD}resched INTEGER, {_VM_TAIL}",
}

INDEXES = (
    ("state_oid_idx", "vm_pool", "state, oid"),
    ("fed_index_idx", "logdb", "fed_index"),
    ("applied_idx", "logdb", "applied"),
)
"""Name, table and columns of the secondary indexes."""


def columns(release: Release) -> dict[str, str]:
    """Column definitions of every table, by name."""
    tables = dict(_PLAIN)
    tables.update(_NEW if release.has_plans else _OLD)
    return dict(sorted(tables.items()))


def create(table: str, release: Release) -> str:
    """The statement that creates *table*."""
    return f"CREATE TABLE IF NOT EXISTS {table} ({columns(release)[table]})"
