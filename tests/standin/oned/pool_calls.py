"""Methods of the pools: listing and reading; creating and changing is beside it."""

from __future__ import annotations

from functools import partial

from onecore.template import cdata
from oned import objects
from oned.calls import (
    XML_RPC_API,
    Arguments,
    Caller,
    Calls,
    Refused,
    missing,
    not_authorized,
    reading,
)
from oned.objects import KINDS, Kind
from oned.settings import Settings

_FILTER_GROUP, _FILTER_MINE, _FILTER_ALL, _FILTER_MINE_AND_GROUP = -4, -3, -2, -1
_VM_DONE = 6


class PoolCalls:
    """The methods that read: one.*.info, one.*pool.info, one.system.*."""

    def __init__(self, calls: Calls, settings: Settings) -> None:
        self._store = calls.store
        version = calls.release.version
        self._settings = settings
        calls.methods["one.system.version"] = reading(lambda caller, arguments: version)
        calls.methods["one.system.config"] = reading(self._config)
        for kind in KINDS.values():
            if kind.call == "acl":
                calls.methods["one.acl.info"] = reading(self._rules)
                continue
            calls.methods[f"one.{kind.call}pool.info"] = reading(partial(self._list, kind))
            calls.methods[f"one.{kind.call}.info"] = reading(partial(self._info, kind))

    def _config(self, caller: Caller, arguments: Arguments) -> str:
        if not caller.is_admin:
            raise Refused(
                512, "The oned configuration can only be retrieved by users in the oneadmin group"
            )
        return self._settings.to_xml()

    def _rules(self, caller: Caller, arguments: Arguments) -> str:
        rows = self._store.read("SELECT oid, userset, resource, rights, zone FROM acl ORDER BY oid")
        rules = "".join(
            f"<ACL><ID>{oid}</ID><USER>{int(str(users)):x}</USER>"
            f"<RESOURCE>{int(str(resources)):x}</RESOURCE><RIGHTS>{int(str(rights)):x}</RIGHTS>"
            f"<ZONE>{int(str(zone)):x}</ZONE><STRING>{cdata('')}</STRING></ACL>"
            for oid, users, resources, rights, zone in rows
        )
        return f"<ACL_POOL>{rules}</ACL_POOL>"

    def _info(self, kind: Kind, caller: Caller, arguments: Arguments) -> str:
        oid = arguments.number(1)
        if oid == -1:
            oid = {"user": caller.uid, "group": caller.gid}.get(kind.call, -1)
        rows = self._store.read(f"SELECT body, uid FROM {kind.table} WHERE oid = {oid}")
        if not rows:
            raise missing(kind.title, oid)
        body = str(rows[0][0])
        public = kind.call in ("zone", "group") or (kind.call == "user" and oid == caller.uid)
        if not (caller.is_admin or public or rows[0][1] == caller.uid):
            raise not_authorized(caller, kind.title)
        if kind.call in ("user", "group"):
            body = self._with_quotas(kind, oid, body)
        return body

    def _with_quotas(self, kind: Kind, oid: int, body: str) -> str:
        rows = self._store.read(
            f"SELECT body FROM {kind.call}_quotas WHERE {kind.call}_oid = {oid}"
        )
        own = objects.EMPTY_QUOTAS
        if rows:
            row = str(rows[0][0])
            own = row[row.index("</ID>") + 5 : row.rindex("</QUOTAS>")]
        end = f"</{kind.tag}>"
        return body.removesuffix(end) + own + self._default_quotas(kind) + end

    def _default_quotas(self, kind: Kind) -> str:
        tag = f"DEFAULT_{kind.tag}_QUOTAS"
        rows = self._store.read(f"SELECT body FROM system_attributes WHERE name = '{tag}'")
        return str(rows[0][0]) if rows else objects.default_quotas(tag)

    def _list(self, kind: Kind, caller: Caller, arguments: Arguments) -> str:
        # Every pool is listed newest first (API_LIST_ORDER), but for the plain ones.
        order = "DESC" if self._settings.text("API_LIST_ORDER").upper() == "DESC" else "ASC"
        where, limit = ["1"], ""
        if kind.filtered:
            where, limit = self._filter(kind, caller, arguments)
        elif not caller.is_admin and kind.call not in ("zone", "group", "cluster"):
            where = [f"uid = {caller.uid}" if kind.call != "user" else f"oid = {caller.uid}"]
        rows = self._store.read(
            f"SELECT body, oid FROM {kind.table} WHERE {' AND '.join(where)} "
            f"ORDER BY oid {order}{limit}"
        )
        inner = "".join(str(row[0]) for row in rows)
        if kind.call in ("user", "group"):
            quotas = self._store.read(f"SELECT body FROM {kind.call}_quotas")
            inner += "".join(str(row[0]) for row in quotas) + self._default_quotas(kind)
        return f"<{kind.pool_tag}>{inner}</{kind.pool_tag}>"

    def _filter(self, kind: Kind, caller: Caller, arguments: Arguments) -> tuple[list[str], str]:
        chosen, start, end = (arguments.number(position) for position in (1, 2, 3))
        if chosen < _FILTER_GROUP:
            raise Refused(XML_RPC_API, "Incorrect filter_flag")
        where = ["1"]
        if chosen >= 0:
            where.append(f"uid = {chosen}")
        elif chosen == _FILTER_MINE:
            where.append(f"uid = {caller.uid}")
        elif chosen == _FILTER_GROUP:
            where.append(f"gid = {caller.gid}")
        elif not caller.is_admin or (chosen == _FILTER_MINE_AND_GROUP and caller.uid != 0):
            groups = ",".join(str(one) for one in sorted(caller.groups)) or "-1"
            where.append(f"(uid = {caller.uid} OR gid IN ({groups}))")
        if kind.call == "document":
            where.append(f"type = {arguments.number(4)}")
        if kind.call == "vm":
            state = arguments.number(4)
            if state == -1:
                where.append(f"state <> {_VM_DONE}")
            elif state >= 0:
                where.append(f"state = {state}")
        if end < -1:
            return where, f" LIMIT {max(start, 0)},{-end}"
        if start >= 0:
            where.append(f"oid >= {start}")
            if end >= 0:
                where.append(f"oid <= {end}")
        return where, ""
