"""A clone's copy in its database: what it says of production, and its change."""

import re
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from onebaton.adapters import clonerows, clonetables
from onebaton.adapters.clonerows import Body, Shape
from onebaton.adapters.clonetables import TableChange
from onebaton.adapters.mariadb import Database, Session, literal
from onebaton.cloning import Identity, Production, ScrubRule
from onebaton.errors import RefusedError, StepFailedError

#: Changing 50,000 machines takes well under a minute; rules for them some more.
TIMEOUT_S = 4 * 3600.0
SHORT_TIMEOUT_S = 60.0
#: Where a zone's endpoint may point to without naming any machine.
_HERE = re.compile(r"localhost|127\..*|::1|0\.0\.0\.0")
_URL = re.compile(rb"[a-z][a-z0-9+.-]*://[^\s<\]]+", re.IGNORECASE)


def read_production(database: Database, key: str) -> Production:
    """What an unchanged copy says of production.

    :param key: of the digests.
    :raises StepFailedError: if a row cannot be read.
    """
    with database.session(timeout_s=TIMEOUT_S) as session:
        shape = clonerows.shape(session, database.name)
        zones = [body for _, body in clonerows.bodies(session, shape, "zone_pool", "body")]
        named = clonerows.bodies(session, shape, "host_pool", "body")
        hosts = {
            clonerows.readable(e.text)
            for o, b in named
            for e in clonerows.at("host_pool", o, b, "/HOST/NAME")
        }
        digests = frozenset(
            clonetables.digest(key, secret)
            for oid, body in clonerows.bodies(session, shape, "user_pool", "body")
            for secret in clonerows.parsed("user_pool", oid, body, clonetables.secrets_of)
        )
    return Production(tuple(sorted(_endpoints(zones))), tuple(sorted(hosts)), key, digests)


def change(
    database: Database, identity: Identity, rules: Sequence[ScrubRule], *, service: str
) -> Mapping[str, int]:
    """Make the copy one that cannot touch production.

    :param service: the new password of the services' user.
    :returns: rows changed, by table, ordered.
    :raises RefusedError: if ``oned`` runs on the copy, or a rule names a table that it lacks.
    :raises StepFailedError: if a row cannot be read.
    """
    database.change("DO 1", what="changing the copy", timeout_s=SHORT_TIMEOUT_S)
    counts: dict[str, int] = {}
    with database.session(timeout_s=TIMEOUT_S) as session:
        shape = clonerows.shape(session, database.name)
        _require_tables(rules, shape)
        _drop_triggers(session)
        for table in clonetables.EMPTIED:
            if table in shape.columns:
                counts[table] = clonerows.count(session, f"DELETE FROM {table}")  # noqa: S608
        clonerows.ask(session, "DELETE FROM system_attributes WHERE name = 'RAFT_STATE'")
        counts["zone_pool"] = _change_zone(session, shape, identity)
        for table_change in clonetables.changes(identity, service):
            if table_change.table in shape.columns:
                done = _change_table(session, shape, table_change)
                counts[table_change.table] = done
        for table, column in clonetables.DRIVEN:
            if column in shape.columns.get(table, ()):
                counts[table] = counts.get(table, 0) + clonerows.count(
                    session, _drivers_sql(table, column)
                )
        key = secrets.token_hex(32)
        for table, scrub in clonetables.scrubbing(rules, key, identity.user).items():
            counts[table] = counts.get(table, 0) + _scrub(session, shape, table, scrub)
    return {table: count for table, count in sorted(counts.items()) if count}


def first_user(database: Database) -> str:
    """Name of the first user of all, whom servers call each other as."""
    rows = database.rows(
        f"SELECT name FROM user_pool WHERE oid = {clonetables.ONEADMIN_ID}",  # noqa: S608
        what="reading the first user",
        timeout_s=SHORT_TIMEOUT_S,
    )
    if not rows:
        raise StepFailedError(
            "the copy has no first user", resolution="It is no whole copy of a zone."
        )
    return rows[0][0]


# The zone and its users


def _change_zone(session: Session, shape: Shape, identity: Identity) -> int:
    for oid, body in clonerows.bodies(session, shape, "zone_pool", "body"):
        if oid != identity.zone_id:
            continue
        try:
            new = clonetables.zone_body(body, identity)
        except ValueError as error:
            raise clonerows.unreadable("zone_pool", oid, error) from None
        # A federation's other zones, of former times, are production's too.
        clonerows.ask(session, f"DELETE FROM zone_pool WHERE oid <> {oid}")  # noqa: S608
        clonerows.ask(
            session,
            f"UPDATE zone_pool SET body = 0x{new.hex()}, name = {literal(identity.zone)} "  # noqa: S608
            f"WHERE oid = {oid}",
        )
        return 1
    raise StepFailedError(
        f"the copy has no zone with the id {identity.zone_id}",
        resolution="Set zone.id to the zone's id in OpenNebula.",
    )


# Tables


def _change_table(session: Session, shape: Shape, wanted: TableChange) -> int:
    table, where = wanted.table, wanted.where
    done = clonerows.rewrite(session, shape, table, "body", wanted.body, where=where)
    known = shape.columns[table]
    settings = ", ".join(f"`{c}` = {v}" for c, v in wanted.columns.items() if c in known)
    if settings:
        clonerows.ask(session, f"UPDATE {table} SET {settings} WHERE {where}")  # noqa: S608
    return done


def _scrub(session: Session, shape: Shape, table: str, scrub: Body) -> int:
    columns = shape.columns[table]
    done = clonerows.rewrite(session, shape, table, "body", scrub, renames="name" in columns)
    if "short_body" in columns:
        clonerows.rewrite(session, shape, table, "short_body", scrub)
    if "body_json" in columns:
        # Made anew from the body with the next change of the object.
        clonerows.ask(session, f"UPDATE {table} SET body_json = '{{}}'")  # noqa: S608
    return done


def _require_tables(rules: Sequence[ScrubRule], shape: Shape) -> None:
    missing = sorted({rule.table for rule in rules} - shape.keys.keys())
    if missing:
        raise RefusedError(
            f"rules name tables that the copy does not have: {', '.join(missing)}",
            resolution="Correct the file that `clones.scrub` names, then run it again.",
        )


def _drivers_sql(table: str, column: str) -> str:
    pattern, dummy = clonetables.DRIVER_SQL, clonetables.DUMMY_SQL
    return (
        f"UPDATE {table} SET `{column}` = REGEXP_REPLACE(`{column}`, '{pattern}', '{dummy}') "  # noqa: S608
        f"WHERE `{column}` REGEXP '{pattern}'"
    )


def _drop_triggers(session: Session) -> None:
    """None is OpenNebula's: one could write back what is taken out."""
    for name in clonerows.triggers(session):
        clonerows.ask(session, f"DROP TRIGGER `{name}`")


# Texts


def _endpoints(zones: Sequence[bytes]) -> set[str]:
    """Hosts of all addresses that zones name."""
    found = {
        urlsplit(clonerows.readable(url)).hostname for body in zones for url in _URL.findall(body)
    }
    return {host for host in found if host and not _HERE.fullmatch(host)}
