"""Methods that create, change and delete objects of the pools.

Each of them is SQL that goes through the log; creating one writes two records,
the counter first (source: ``PoolSQL::allocate``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from onecore.template import Template, TemplateError
from onecore.template import escape as escape_xml
from oned import objects
from oned.calls import (
    ACTION,
    ALLOCATE,
    INTERNAL,
    Arguments,
    Caller,
    Calls,
    Method,
    Refused,
    missing,
    not_authorized,
)
from oned.database import escape
from oned.objects import KINDS, Kind

_NAME_MAX = 128
_INVALID_IN_NAMES = set("&|:\\\";/'#{}$<>")
_USERS_GROUP = (1, "users")
_FIRST_OF_CLIENTS = {"cluster": 100, "datastore": 100, "group": 100, "secgroup": 100, "vdc": 100}
"""Lower ids are those that a zone begins with."""


class ChangeCalls:
    """The methods that write documents, templates, hosts and users."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._store = calls.store
        self.locks = {kind.table: threading.Lock() for kind in KINDS.values()}
        """One for each table: what is read, changed and written back is written by one alone."""
        self.offer(KINDS["document"], self._new_document)
        self.offer(KINDS["template"], self._new_template)
        self.offer(KINDS["host"], self._new_host)
        self.offer(KINDS["user"], self._new_user, rename=False)
        calls.methods["one.user.passwd"] = Method(self._set_password)

    def offer(
        self, kind: Kind, create: Callable[[Caller, Arguments], int], *, rename: bool = True
    ) -> None:
        """Let clients create, change and delete objects of a kind.

        :param rename: users and groups keep their name, as in the real one.
        """
        methods = self._calls.methods
        methods[f"one.{kind.call}.allocate"] = Method(create)
        methods[f"one.{kind.call}.update"] = Method(partial(self._update, kind))
        methods[f"one.{kind.call}.delete"] = Method(partial(self._delete, kind))
        if rename:
            methods[f"one.{kind.call}.rename"] = Method(partial(self._rename, kind))

    def allocate(self, kind: Kind, insert: Callable[[int], str]) -> int:
        """Write a new object under the next id.

        :param insert: its statement, from the id.
        :raises Refused: if it cannot be written.
        """
        with self.locks[kind.table]:
            before = self._store.last_oid(kind.table)
            oid = before + 1
            if not self._store.set_last_oid(kind.table, oid):
                raise Refused(ALLOCATE, f"Error allocating a new {kind.title}.")
            if not self._store.write(insert(oid)):
                self._store.set_last_oid(kind.table, max(before, 0))
                raise Refused(ALLOCATE, f"Error allocating a new {kind.title}.")
            return oid

    @staticmethod
    def template(text: str, code: int) -> Template:
        """A template that a client sent.

        :raises Refused: with *code* if it is none.
        """
        try:
            return Template.parse(text)
        except TemplateError as error:
            raise Refused(code, str(error)) from error

    def _new_document(self, caller: Caller, arguments: Arguments) -> int:
        kind = KINDS["document"]
        template, document_type = self.template(arguments.text(1), INTERNAL), arguments.number(2)
        given = template.single("NAME") or ""
        template.erase("NAME")
        if len(given) > _NAME_MAX:
            raise Refused(
                ALLOCATE,
                "Error allocating a new document. NAME is too long; max length is 128 chars.",
            )

        def insert(oid: int) -> str:
            name = given or f"document-{oid}"
            body = objects.document(oid, caller.owner, name, document_type, template)
            return (
                "INSERT INTO document_pool (oid, name, body, type, uid, gid, owner_u, group_u, "
                f"other_u) VALUES ({oid},'{escape(name)}','{escape(body)}',{document_type},"
                f"{caller.uid},{caller.gid},1,0,0)"
            )

        return self.allocate(kind, insert)

    def _new_template(self, caller: Caller, arguments: Arguments) -> int:
        kind = KINDS["template"]
        template = self.template(arguments.text(1), INTERNAL)
        name = template.single("NAME") or ""
        template.erase("NAME")
        self.check_name(kind, name)

        def insert(oid: int) -> str:
            body = objects.vm_template(oid, caller.owner, name, template)
            return (
                "INSERT INTO template_pool (oid, name, body, uid, gid, owner_u, group_u, other_u) "
                f"VALUES ({oid},'{escape(name)}','{escape(body)}',{caller.uid},{caller.gid},1,0,0)"
            )

        return self.allocate(kind, insert)

    def _new_host(self, caller: Caller, arguments: Arguments) -> int:
        kind = KINDS["host"]
        name, im_mad, vm_mad = (arguments.text(position) for position in (1, 2, 3))
        cluster = arguments.number(4) if len(arguments) > 4 else 0
        if not caller.is_admin:
            raise not_authorized(caller, kind.title)
        self.check_name(kind, name)
        self.check_unused(kind, name)

        def insert(oid: int) -> str:
            body = objects.host(oid, name, im_mad, vm_mad, (max(cluster, 0), "default"))
            return (
                "INSERT INTO host_pool (oid, name, body, state, uid, gid, owner_u, group_u, "
                f"other_u, cid) VALUES ({oid},'{escape(name)}','{escape(body)}',0,0,0,1,0,0,"
                f"{max(cluster, 0)})"
            )

        return self.allocate(kind, insert)

    def _new_user(self, caller: Caller, arguments: Arguments) -> int:
        kind = KINDS["user"]
        name, password = arguments.text(1), arguments.text(2)
        driver = arguments.text(3) or "core"
        groups = arguments.array(4) if len(arguments) > 4 else []
        if not caller.is_admin:
            raise not_authorized(caller, kind.title)
        self.check_name(kind, name)
        self.check_unused(kind, name)
        if not password:
            raise Refused(
                ALLOCATE, "Error allocating a new user. Invalid password, it cannot be empty"
            )
        group = _USERS_GROUP
        if groups:
            gid = int(str(groups[0]))
            rows = self._store.read(f"SELECT name FROM group_pool WHERE oid = {gid}")
            if not rows:
                raise missing("group", gid)
            group = (gid, str(rows[0][0]))
        stored = objects.digest(password) if driver == "core" else password

        def insert(oid: int) -> str:
            body = objects.user(oid, name, stored, driver, group)
            return (
                "INSERT INTO user_pool (oid, name, body, uid, gid, owner_u, group_u, other_u) "
                f"VALUES ({oid},'{escape(name)}','{escape(body)}',{oid},{group[0]},1,0,0)"
            )

        oid = self.allocate(kind, insert)
        self._store.write(
            "INSERT INTO user_quotas (user_oid, body) VALUES "
            f"({oid},'{escape(objects.quotas(oid))}')"
        )
        return oid

    def check_name(self, kind: Kind, name: str) -> None:
        """Whether an object may be called so.

        :raises Refused: if it may not.
        """
        problem = ""
        if not name:
            problem = "Invalid NAME, it cannot be empty"
        elif len(name) > _NAME_MAX:
            problem = "Invalid NAME, max length is 128 chars"
        elif _INVALID_IN_NAMES & set(name):
            bad = next(sign for sign in name if sign in _INVALID_IN_NAMES)
            problem = f"Invalid NAME, it contains invalid characters: {bad}"
        if problem:
            raise Refused(ALLOCATE, f"Error allocating a new {kind.title}. {problem}")

    def check_unused(self, kind: Kind, name: str, uid: int | None = None) -> None:
        """Whether no other object has this name.

        :param uid: look among the objects of this user alone.
        :raises Refused: if there is one.
        """
        of_user = "" if uid is None else f" AND uid = {uid}"
        rows = self._store.read(
            f"SELECT oid FROM {kind.table} WHERE name = '{escape(name)}'{of_user}"
        )
        if rows:
            raise Refused(
                ALLOCATE,
                f"Error allocating a new {kind.title}. NAME is already taken by "
                f"{kind.tag} {rows[0][0]}.",
            )

    def body(self, kind: Kind, caller: Caller, oid: int) -> str:
        """The body of an object that the caller may change.

        :raises Refused: if there is none, or it is somebody else's.
        """
        rows = self._store.read(f"SELECT body, uid FROM {kind.table} WHERE oid = {oid}")
        if not rows:
            raise missing(kind.title, oid)
        if not (caller.is_admin or rows[0][1] == caller.uid):
            raise not_authorized(caller, kind.title)
        return str(rows[0][0])

    def _save(self, kind: Kind, oid: int, body: str, code: int = ACTION) -> int:
        statement = f"UPDATE {kind.table} SET body = '{escape(body)}' WHERE oid = {oid}"
        if not self._store.write(statement):
            raise Refused(code, "")
        return oid

    def _update(self, kind: Kind, caller: Caller, arguments: Arguments) -> int:
        oid = arguments.number(1)
        template = self.template(arguments.text(2), INTERNAL)
        append = len(arguments) > 3 and arguments.number(3) == 1
        with self.locks[kind.table]:
            body = self.body(kind, caller, oid)
            if append:
                merged = objects.template_of(body)
                merged.merge(template)
                template = merged
            return self._save(kind, oid, objects.splice_template(body, template), INTERNAL)

    def _rename(self, kind: Kind, caller: Caller, arguments: Arguments) -> int:
        oid, name = arguments.number(1), arguments.text(2)
        self.check_name(kind, name)
        with self.locks[kind.table]:
            body = objects.with_element(self.body(kind, caller, oid), "NAME", escape_xml(name))
            statement = (
                f"UPDATE {kind.table} SET name = '{escape(name)}', body = '{escape(body)}' "
                f"WHERE oid = {oid}"
            )
            if not self._store.write(statement):
                raise Refused(ACTION, "")
        return oid

    def _delete(self, kind: Kind, caller: Caller, arguments: Arguments) -> int:
        oid = arguments.number(1)
        with self.locks[kind.table]:
            self.body(kind, caller, oid)
            if kind.call == "user" and oid in (0, 1):
                raise Refused(ACTION, "Cannot delete user. oneadmin cannot be deleted.", oid)
            if oid < _FIRST_OF_CLIENTS.get(kind.call, 0):
                raise Refused(ACTION, f"Cannot delete {kind.title}. It is a system one.", oid)
            if not self._store.write(f"DELETE FROM {kind.table} WHERE oid={oid}"):
                raise Refused(ACTION, "")
            if kind.call in ("user", "group"):
                self._store.write(f"DELETE FROM {kind.call}_quotas WHERE {kind.call}_oid={oid}")
        return oid

    def _set_password(self, caller: Caller, arguments: Arguments) -> int:
        kind = KINDS["user"]
        oid, password = arguments.number(1), arguments.text(2)
        if not password:
            raise Refused(ACTION, "Invalid password, it cannot be empty")
        with self.locks[kind.table]:
            body = self.body(kind, caller, oid)
            stored = objects.digest(password)
            return self._save(
                kind, oid, objects.with_element(body, "PASSWORD", f"<![CDATA[{stored}]]>")
            )
