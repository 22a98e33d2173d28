"""A clone's changed copy read back before its first start: what is still production's."""

import re
from collections.abc import Iterator

from onebaton.adapters import clonerows, clonetables
from onebaton.adapters.bodyxml import elements
from onebaton.adapters.clonerows import Shape
from onebaton.adapters.clonetables import TableChange
from onebaton.adapters.mariadb import Database, Session
from onebaton.cloning import Identity, Production

TIMEOUT_S = 4 * 3600.0


def names_or_opens(database: Database, production: Production) -> Iterator[str]:
    """What names production's servers, or lets somebody in there.

    :returns: a sentence each.
    """
    with database.session(timeout_s=TIMEOUT_S) as session:
        shape = clonerows.shape(session, database.name)
        yield from _named_servers(session, shape, production)
        yield from _opening(session, shape, production)


def still_production(
    database: Database, identity: Identity, production: Production
) -> Iterator[str]:
    """Read the changed copy back.

    :returns: what is not as it must be before the first start, a sentence each.
    """
    with database.session(timeout_s=TIMEOUT_S) as session:
        shape = clonerows.shape(session, database.name)
        yield from _named_servers(session, shape, production)
        yield from _listed_servers(session, shape, identity)
        yield from _opening(session, shape, production)
        yield from _let_in(session, shape)
        for one in clonetables.changes(identity, ""):
            if one.table in shape.columns and one.table != "user_pool":
                yield from _left(session, shape, one)
        for table, column in clonetables.DRIVEN:
            if column in shape.columns.get(table, ()):
                where = f"{column} REGEXP '{clonetables.DRIVER_SQL}'"
                yield from _rows_left(session, table, where, "names a driver that is no dummy")
        for table in clonetables.EMPTIED:
            if table in shape.columns:
                yield from _rows_left(session, table, "TRUE", "holds what production wrote")
        where = "name = 'RAFT_STATE'"
        yield from _rows_left(session, "system_attributes", where, "holds production's Raft state")
        if clonerows.triggers(session):
            yield "the copy has triggers"


def _named_servers(session: Session, shape: Shape, production: Production) -> Iterator[str]:
    for oid, body in clonerows.bodies(session, shape, "zone_pool", "body"):
        for address in production.endpoints:
            if _named(address, body):
                yield f"zone_pool names production's {address} (zone {oid})"


def _listed_servers(session: Session, shape: Shape, identity: Identity) -> Iterator[str]:
    for oid, body in clonerows.bodies(session, shape, "zone_pool", "body"):
        servers = clonerows.at("zone_pool", oid, body, "/ZONE/SERVER_POOL/SERVER/ENDPOINT")
        if [clonerows.readable(e.text) for e in servers] != [identity.server.endpoint]:
            yield f"the server list of zone {oid} is not this clone's first server alone"


def _opening(session: Session, shape: Shape, production: Production) -> Iterator[str]:
    for oid, body in clonerows.bodies(session, shape, "user_pool", "body"):
        for element in clonerows.parsed("user_pool", oid, body, elements):
            digest = clonetables.digest(production.key, element.text) if element.text else ""
            if digest in production.digests:
                yield f"user {oid} still has a secret of production ({element.path})"


def _let_in(session: Session, shape: Shape) -> Iterator[str]:
    """Users that some driver, or a token, lets in."""
    for oid, body in clonerows.bodies(session, shape, "user_pool", "body"):
        allowed = (b"core", *((b"server_cipher",) * (oid == clonetables.SERVERADMIN_ID)))
        for element in clonerows.parsed("user_pool", oid, body, elements):
            if element.path == "/USER/LOGIN_TOKEN":
                yield f"user {oid} still has a login token"
            if element.path == "/USER/AUTH_DRIVER" and element.text not in allowed:
                yield f"user {oid} is let in by a driver of production"


def _left(session: Session, shape: Shape, wanted: TableChange) -> Iterator[str]:
    """Objects that a change would change again."""
    for oid, body in clonerows.bodies(session, shape, wanted.table, "body", where=wanted.where):
        if wanted.body(oid, body) != body:
            yield f"{wanted.table}: object {oid} is not switched off, or holds keys of production"
    for column, value in wanted.columns.items():
        if column in shape.columns[wanted.table]:
            where = f"NOT (`{column}` <=> {value})"
            yield from _rows_left(session, wanted.table, where, f"has another {column}")


def _rows_left(session: Session, table: str, where: str, what: str) -> Iterator[str]:
    ((count,),) = session.rows(
        f"SELECT COUNT(*) FROM {table} WHERE {where}",  # noqa: S608 - our names
        what=f"reading {table}",
        private=True,
    )
    if count != "0":
        yield f"{table} {what} ({count} {'row' if count == '1' else 'rows'})"


def _named(address: str, body: bytes) -> bool:
    """An address or a name stands in a text by itself, and not as a part of a longer one."""
    part = rb"[0-9A-Za-z-]"
    pattern = rb"(?<![0-9A-Za-z.-])%s(?!%s|\.%s)" % (re.escape(address.encode()), part, part)
    return re.search(pattern, body, re.IGNORECASE) is not None
