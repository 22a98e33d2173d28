"""The first start on an empty database, and the check of its version."""

from __future__ import annotations

import secrets
import time

from onecore import tables
from onecore.places import Places, read_one_auth
from onecore.release import Release
from onecore.template import Template
from oned import objects
from oned.database import Database, DatabaseError, escape
from oned.journal import Journal

# Bits of an ACL rule (source: ``AclRule``, ``PoolObjectSQL``).
_ACL_GROUP, _ACL_ALL = 1 << 33, 1 << 34
_VM, _IMAGE, _TEMPLATE, _DOCUMENT = 1 << 36, 1 << 39, 1 << 41, 1 << 46
_ZONE, _SECGROUP, _MARKET, _APP = 1 << 47, 1 << 48, 1 << 51, 1 << 52
_VMGROUP, _BACKUPJOB = 1 << 53, 1 << 56
_CREATABLE = _VM | _IMAGE | _TEMPLATE | _DOCUMENT | _SECGROUP | _VMGROUP | _BACKUPJOB
_USE, _CREATE = 1, 8


class BootstrapError(Exception):
    """The database cannot be used as it is."""


def _version(database: Database, table: str) -> str | None:
    try:
        rows = database.read(
            f"SELECT version FROM {table} WHERE oid=(SELECT MAX(oid) FROM {table})"
        )
    except DatabaseError:
        return None
    return str(rows[0][0]) if rows and rows[0][0] else None


def needs_bootstrap(database: Database, release: Release, journal: Journal) -> bool:
    """Whether the database is empty.

    :raises BootstrapError: if its schema is not exactly the one of *release*.
    """
    empty = False
    for table in ("local_db_versioning", "db_versioning"):
        found = _version(database, table)
        if found is None:
            empty = True
        elif found != release.schema:
            journal.error(
                "ONE",
                f"Database version mismatch ( {table}). Installed OpenNebula {release.version} () "
                f"needs DB version '{release.schema}', and existing DB version is '{found}'.",
            )
            journal.error("ONE", "Use onedb to upgrade DB.")
            raise BootstrapError("Database version mismatch. Check oned.log.")
        else:
            journal.info("ONE", f"oned is using version {found} for {table}")
    return empty


def create_tables(database: Database, release: Release, journal: Journal) -> None:
    """Create every table and note the version."""
    journal.info("ONE", "Bootstrapping OpenNebula database, stage 1.")
    for table in tables.columns(release):
        database.write(tables.create(table, release))
    for name, table, columns in tables.INDEXES:
        database.write(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})")
    now = int(time.time())
    comment = f"OpenNebula {release.version} () daemon bootstrap"
    database.write(
        "INSERT INTO local_db_versioning (oid, version, timestamp, comment, is_slave) VALUES "
        f"(0, '{release.schema}', {now}, '{comment}', '0')"
    )
    for tag in ("DEFAULT_USER_QUOTAS", "DEFAULT_GROUP_QUOTAS"):
        database.write(
            "INSERT IGNORE INTO system_attributes (name, body) VALUES "
            f"('{tag}', '{escape(objects.default_quotas(tag))}')"
        )
    journal.info("ONE", "Bootstrapping OpenNebula database, stage 2.")
    database.write(
        "INSERT INTO db_versioning (oid, version, timestamp, comment) VALUES "
        f"(0, '{release.schema}', {now}, '{comment}')"
    )


def create_objects(database: Database, places: Places, port: int, release: Release) -> None:
    """Create the users, groups, the zone and the rest a new zone begins with.

    :raises BootstrapError: if there is no usable secret, or if service secrets are
        there already: a sign that this is not a new zone (source: ``UserPool``).
    """
    try:
        name, separator, password = read_one_auth().partition(":")
    except OSError as error:
        raise BootstrapError(f"Error reading one_auth: {error}") from error
    if not separator or not name or not password:
        raise BootstrapError("Wrong format must be <username>:<password>")
    service_secret = secrets.token_hex(32)
    places.secrets.mkdir(mode=0o700, exist_ok=True)
    for service in ("sunstone", "onegate", "oneflow"):
        path = places.secrets / f"{service}_auth"
        if path.exists():
            raise BootstrapError(
                f"Password file {path} already exists but OpenNebula is boostraping the "
                "database. Check your database configuration in oned.conf."
            )
        path.touch(mode=0o600)
        path.write_text(f"serveradmin:{service_secret}\n", encoding="utf-8")

    admins = (0, "oneadmin")
    rows: list[tuple[str, int, str, str]] = [
        ("cluster_pool", 0, "default", _cluster()),
        ("group_pool", 0, "oneadmin", objects.group(0, "oneadmin", [0, 1])),
        ("group_pool", 1, "users", objects.group(1, "users", [])),
        ("user_pool", 0, name, objects.user(0, name, objects.digest(password), "core", admins)),
        (
            "user_pool",
            1,
            "serveradmin",
            objects.user(1, "serveradmin", objects.digest(service_secret), "server_cipher", admins),
        ),
        ("zone_pool", 0, "OpenNebula", _zone(port)),
        ("secgroup_pool", 0, "default", _plain("SECURITY_GROUP", 0, "default")),
        ("vdc_pool", 0, "default", _plain("VDC", 0, "default")),
        *(
            ("datastore_pool", oid, label, _plain("DATASTORE", oid, label))
            for oid, label in enumerate(("system", "default", "files"))
        ),
    ]
    for table, oid, label, body in rows:
        database.write(
            f"INSERT INTO {table} (oid, name, body, uid, gid, owner_u, group_u, other_u) VALUES "
            f"({oid}, '{escape(label)}', '{escape(body)}', 0, 0, 1, 0, 0)"
        )
    for table, column, oids in (
        ("user_quotas", "user_oid", (0, 1)),
        ("group_quotas", "group_oid", (0, 1)),
    ):
        for oid in oids:
            database.write(
                f"INSERT INTO {table} ({column}, body) VALUES "
                f"({oid}, '{escape(objects.quotas(oid))}')"
            )
    for oid, (users, resources, rights) in enumerate(
        (
            (_ACL_GROUP | 1, _ACL_ALL | _CREATABLE, _CREATE),
            (_ACL_ALL, _ACL_ALL | _ZONE, _USE),
            (_ACL_ALL, _ACL_ALL | _MARKET | _APP, _USE),
        )
    ):
        database.write(
            "INSERT INTO acl (oid, userset, resource, rights, zone) VALUES "
            f"({oid}, {users}, {resources}, {rights}, {_ACL_ALL})"
        )
    for table, last in (
        ("acl", 2),
        ("cluster_pool", 99),
        ("datastore_pool", 99),
        ("group_pool", 99),
        ("secgroup_pool", 99),
        ("user_pool", 1),
        ("vdc_pool", 99),
        ("zone_pool", 99),
    ):
        database.write(f"REPLACE INTO pool_control (tablename, last_oid) VALUES ('{table}',{last})")
    if release.has_plans:
        for cid in (-1, 0):
            database.write(
                "INSERT INTO plan_pool (cid, state, body) VALUES "
                f"({cid}, -1, '<PLAN><ID>{cid}</ID><STATE>-1</STATE></PLAN>')"
            )


def _zone(port: int) -> str:
    template = Template([("ENDPOINT", f"http://localhost:{port}/RPC2")])
    return objects.Zone(0, "OpenNebula", 0, template, []).to_xml()


def _cluster() -> str:
    return (
        "<CLUSTER><ID>0</ID><NAME>default</NAME><HOSTS></HOSTS><DATASTORES><ID>0</ID><ID>1</ID>"
        "<ID>2</ID></DATASTORES><VNETS></VNETS>"
        "<TEMPLATE><RESERVED_CPU></RESERVED_CPU><RESERVED_MEM></RESERVED_MEM></TEMPLATE></CLUSTER>"
    )


def _plain(tag: str, oid: int, name: str) -> str:
    return (
        f"<{tag}><ID>{oid}</ID><UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME>"
        f"<GNAME>oneadmin</GNAME><NAME>{name}</NAME><TEMPLATE></TEMPLATE></{tag}>"
    )
