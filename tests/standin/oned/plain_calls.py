"""Methods that create objects which are a name and a template; nothing is done with them.

Parameters are the real ones. What drivers would do (copy an image, monitor a
datastore) does not happen: an image is ready at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from onecore.template import Template, cdata
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
from oned.change_calls import ChangeCalls
from oned.database import escape
from oned.objects import KINDS, Kind

_IMAGE_READY, _DATABLOCK = 1, 2
_ACL_EVERYWHERE = 1 << 34


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a kind is stored.

    :ivar columns: what its table has beside the usual, with the value of a new object.
    :ivar unique: where no two of them have the same name: in the zone, or among a user's own.
    :ivar middle: elements of the body between permissions and template.
    """

    columns: tuple[tuple[str, int], ...] = ()
    unique: Literal["zone", "user", ""] = ""
    middle: Callable[[Calls, Template], str] = lambda calls, template: ""


def _image_parts(calls: Calls, template: Template) -> str:
    now = int(time.time())
    changed = f"<MODTIME>{now}</MODTIME>" if calls.release.has_plans else ""
    return (
        f"<TYPE>{_DATABLOCK}</TYPE><DISK_TYPE>0</DISK_TYPE><PERSISTENT>0</PERSISTENT>"
        f"<REGTIME>{now}</REGTIME>{changed}<SOURCE>{cdata('')}</SOURCE><PATH>{cdata('')}</PATH>"
        f"<SIZE>{template.single('SIZE') or 0}</SIZE><STATE>{_IMAGE_READY}</STATE>"
        "<PREV_STATE>0</PREV_STATE><RUNNING_VMS>0</RUNNING_VMS><CLONING_OPS>0</CLONING_OPS>"
        "<CLONING_ID>-1</CLONING_ID><TARGET_SNAPSHOT>-1</TARGET_SNAPSHOT>"
        "<DATASTORE_ID>1</DATASTORE_ID><DATASTORE>default</DATASTORE><VMS></VMS><CLONES></CLONES>"
    )


_SHAPES: dict[str, _Shape] = {
    "backupjob": _Shape((("priority", 50), ("outdated_vms", 0))),
    "datastore": _Shape(unique="zone"),
    "hook": _Shape((("type", 0),)),
    "image": _Shape(unique="user", middle=_image_parts),
    "market": _Shape(unique="zone"),
    "marketapp": _Shape(unique="user"),
    "secgroup": _Shape(unique="user"),
    "vdc": _Shape(unique="zone"),
    "vmgroup": _Shape(unique="user"),
    "vn": _Shape((("pid", -1),), unique="user"),
    "vntemplate": _Shape(),
    "vrouter": _Shape(),
}


class PlainCalls:
    """The methods that create the objects of these pools, and ACL rules."""

    def __init__(self, calls: Calls, change: ChangeCalls) -> None:
        self._calls = calls
        self._store = calls.store
        self._change = change
        for call, shape in _SHAPES.items():
            change.offer(KINDS[call], partial(self._new, KINDS[call], shape))
        change.offer(KINDS["cluster"], self._new_cluster)
        change.offer(KINDS["group"], self._new_group, rename=False)
        calls.methods["one.acl.addrule"] = Method(self._add_rule)
        calls.methods["one.acl.delrule"] = Method(self._delete_rule)

    def _new(self, kind: Kind, shape: _Shape, caller: Caller, arguments: Arguments) -> int:
        change = self._change
        template = change.template(arguments.text(1), INTERNAL)
        name = template.single("NAME") or ""
        template.erase("NAME")
        change.check_name(kind, name)
        if shape.unique:
            change.check_unused(kind, name, caller.uid if shape.unique == "user" else None)
        more = "".join(f", {column}" for column, _ in shape.columns)
        values = "".join(f",{value}" for _, value in shape.columns)

        def insert(oid: int) -> str:
            body = objects.plain(
                kind.tag,
                oid,
                caller.owner,
                name,
                template,
                middle=shape.middle(self._calls, template),
            )
            return (
                f"INSERT INTO {kind.table} (oid, name, body, uid, gid, owner_u, group_u, other_u"
                f"{more}) VALUES ({oid},'{escape(name)}','{escape(body)}',{caller.uid},"
                f"{caller.gid},1,0,0{values})"
            )

        return change.allocate(kind, insert)

    def _new_cluster(self, caller: Caller, arguments: Arguments) -> int:
        return self._named(KINDS["cluster"], caller, arguments, objects.cluster)

    def _new_group(self, caller: Caller, arguments: Arguments) -> int:
        oid = self._named(
            KINDS["group"], caller, arguments, lambda oid, name: objects.group(oid, name, [])
        )
        self._store.write(
            "INSERT INTO group_quotas (group_oid, body) VALUES "
            f"({oid},'{escape(objects.quotas(oid))}')"
        )
        return oid

    def _named(
        self, kind: Kind, caller: Caller, arguments: Arguments, body: Callable[[int, str], str]
    ) -> int:
        name = arguments.text(1)
        if not caller.is_admin:
            raise not_authorized(caller, kind.title)
        self._change.check_name(kind, name)
        self._change.check_unused(kind, name)

        def insert(oid: int) -> str:
            return (
                f"INSERT INTO {kind.table} (oid, name, body, uid, gid, owner_u, group_u, other_u) "
                f"VALUES ({oid},'{escape(name)}','{escape(body(oid, name))}',0,0,1,0,0)"
            )

        return self._change.allocate(kind, insert)

    def _add_rule(self, caller: Caller, arguments: Arguments) -> int:
        kind = KINDS["acl"]
        if not caller.is_admin:
            raise not_authorized(caller, kind.title)
        given = [arguments.text(position) for position in (1, 2, 3)]
        if len(arguments) > 4:
            given.append(arguments.text(4))
        try:
            rule = [int(text, 16) for text in given]
        except ValueError as error:
            raise Refused(ALLOCATE, "Error allocating a new ACL rule. Wrong number.") from error
        users, resources, rights, zone = rule if len(rule) > 3 else [*rule, _ACL_EVERYWHERE]
        same = self._store.read(
            f"SELECT oid FROM acl WHERE userset = {users} AND resource = {resources} "
            f"AND rights = {rights} AND zone = {zone}"
        )
        if same:
            raise Refused(ALLOCATE, f"Error allocating a new ACL rule. Rule {same[0][0]} is it.")
        return self._change.allocate(
            kind,
            lambda oid: (
                "INSERT INTO acl (oid, userset, resource, rights, zone) VALUES "
                f"({oid},{users},{resources},{rights},{zone})"
            ),
        )

    def _delete_rule(self, caller: Caller, arguments: Arguments) -> int:
        oid = arguments.number(1)
        if not caller.is_admin:
            raise not_authorized(caller, "ACL")
        if not self._store.read(f"SELECT oid FROM acl WHERE oid = {oid}"):
            raise missing("ACL", oid)
        if not self._store.write(f"DELETE FROM acl WHERE oid={oid}"):
            raise Refused(ACTION, "")
        return oid
