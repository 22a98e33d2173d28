"""Virtual machines: created, deployed and ended in the database; nothing runs.

A machine is running as soon as it is deployed, as with the real dummy drivers.
The real one keeps machines that have ended: their row stays, in state DONE.
"""

from __future__ import annotations

import json
import time

from onecore.template import Template, cdata
from oned import objects
from oned.calls import ACTION, INTERNAL, Arguments, Caller, Calls, Method, Refused, missing, reading
from oned.change_calls import ChangeCalls
from oned.database import escape
from oned.objects import KINDS

_PENDING, _HOLD, _ACTIVE, _DONE = 1, 2, 3, 6
_LCM_INIT, _RUNNING = 0, 3
_ENDED_BY_USER = 28
"""ACTION of a history record: terminated."""
_KIND = KINDS["vm"]
_ACTIONS = ("terminate", "terminate-hard", "hold", "release")


class MachineCalls:
    """The methods ``one.vm.*`` that write."""

    def __init__(self, calls: Calls, change: ChangeCalls) -> None:
        self._calls = calls
        self._store = calls.store
        self._change = change
        change.offer(_KIND, self._new)
        # A machine is ended by an action; its row is never deleted.
        del calls.methods["one.vm.delete"]
        calls.methods["one.vm.update"] = Method(self._update)
        calls.methods["one.vm.deploy"] = Method(self._deploy)
        calls.methods["one.vm.action"] = Method(self._act)
        calls.methods["one.vm.info"] = reading(self._info)

    def _new(self, caller: Caller, arguments: Arguments) -> int:
        template = self._change.template(arguments.text(1), INTERNAL)
        held = len(arguments) > 2 and arguments.flag(2)
        given = template.single("NAME") or ""
        template.erase("NAME")
        if given:
            self._change.check_name(_KIND, given)
        state = _HOLD if held else _PENDING
        own = Template([(k, v) for k, v in template.attributes if k in ("CPU", "MEMORY", "VCPU")])
        user = Template([pair for pair in template.attributes if pair not in own.attributes])

        def insert(oid: int) -> str:
            name = given or f"vm-{oid}"
            body = objects.machine(oid, caller.owner, name, state, (own, user))
            short, brief = _brief(body)
            extra = ("resched, ", "0,") if self._calls.release.has_plans else ("", "")
            return (
                f"INSERT INTO vm_pool (oid, name, body, uid, gid, state, lcm_state, {extra[0]}"
                f"owner_u, group_u, other_u, short_body, body_json) VALUES ({oid},"
                f"'{escape(name)}','{escape(body)}',{caller.uid},{caller.gid},{state},{_LCM_INIT},"
                f"{extra[1]}1,0,0,'{escape(short)}','{escape(brief)}')"
            )

        return self._change.allocate(_KIND, insert)

    def _save(self, oid: int, body: str) -> None:
        short, brief = _brief(body)
        statement = (
            f"UPDATE vm_pool SET body = '{escape(body)}', "
            f"state = {objects.element(body, 'STATE')}, "
            f"lcm_state = {objects.element(body, 'LCM_STATE')}, "
            f"short_body = '{escape(short)}', body_json = '{escape(brief)}' WHERE oid = {oid}"
        )
        if not self._store.write(statement):
            raise Refused(ACTION, "")

    def _update(self, caller: Caller, arguments: Arguments) -> int:
        oid = arguments.number(1)
        template = self._change.template(arguments.text(2), INTERNAL)
        append = len(arguments) > 3 and arguments.number(3) == 1
        with self._change.locks[_KIND.table]:
            body = self._change.body(_KIND, caller, oid)
            if append:
                merged = objects.template_of(body, "USER_TEMPLATE")
                merged.merge(template)
                template = merged
            self._save(oid, objects.splice_template(body, template, "USER_TEMPLATE"))
        return oid

    def _deploy(self, caller: Caller, arguments: Arguments) -> int:
        oid, host = arguments.number(1), arguments.number(2)
        with self._change.locks[_KIND.table]:
            body = self._change.body(_KIND, caller, oid)
            found = self._store.read(f"SELECT name, cid FROM host_pool WHERE oid = {host}")
            if not found:
                raise missing("host", host)
            if int(objects.element(body, "STATE")) not in (_PENDING, _HOLD):
                raise Refused(ACTION, "Could not deploy virtual machine, wrong state", oid)
            now = int(time.time())
            record = objects.history(
                oid, host, str(found[0][0]), now, planned=self._calls.release.has_plans
            )
            written = self._store.write(
                "INSERT INTO history (vid, seq, body, stime, etime) VALUES "
                f"({oid},0,'{escape(record)}',{now},0)"
            )
            if not written:
                raise Refused(ACTION, "")
            self._save(oid, _in_state(body, _ACTIVE, _RUNNING))
        return oid

    def _act(self, caller: Caller, arguments: Arguments) -> int:
        action, oid = arguments.text(1), arguments.number(2)
        if action not in _ACTIONS:
            raise Refused(ACTION, f"Error performing action {action!r}, it does not exist")
        with self._change.locks[_KIND.table]:
            body = self._change.body(_KIND, caller, oid)
            state = int(objects.element(body, "STATE"))
            if action in ("hold", "release"):
                before, after = (_PENDING, _HOLD) if action == "hold" else (_HOLD, _PENDING)
                if state != before:
                    raise Refused(ACTION, f"Wrong state to perform action {action!r}", oid)
                self._save(oid, _in_state(body, after, _LCM_INIT))
                return oid
            if state == _DONE:
                raise Refused(ACTION, f"Wrong state to perform action {action!r}", oid)
            now = int(time.time())
            if state == _ACTIVE:
                self._end_history(oid, now)
            body = objects.with_element(body, "ETIME", str(now))
            self._save(oid, _in_state(body, _DONE, _LCM_INIT))
        return oid

    def _end_history(self, oid: int, now: int) -> None:
        rows = self._store.read(f"SELECT body FROM history WHERE vid = {oid} AND seq = 0")
        record = objects.with_element(str(rows[0][0]), "ETIME", str(now))
        record = objects.with_element(record, "ACTION", str(_ENDED_BY_USER))
        written = self._store.write(
            f"UPDATE history SET body = '{escape(record)}', etime = {now} "
            f"WHERE vid = {oid} AND seq = 0"
        )
        if not written:
            raise Refused(ACTION, "")

    def _info(self, caller: Caller, arguments: Arguments) -> str:
        oid = arguments.number(1)
        body = self._change.body(_KIND, caller, oid)
        rows = self._store.read(f"SELECT body FROM history WHERE vid = {oid} ORDER BY seq")
        records = "".join(str(row[0]) for row in rows)
        return body.removesuffix("</VM>") + f"<HISTORY_RECORDS>{records}</HISTORY_RECORDS></VM>"


def _in_state(body: str, state: int, lcm_state: int) -> str:
    body = objects.with_element(body, "STATE", str(state))
    return objects.with_element(body, "LCM_STATE", str(lcm_state))


def _brief(body: str) -> tuple[str, str]:
    """The short form that listings show, and the one that is searched."""
    tags = ("ID", "UID", "GID", "UNAME", "GNAME", "NAME", "STATE", "LCM_STATE")
    values = {tag: objects.element(body, tag) for tag in tags}
    inner = "".join(f"<{tag}>{cdata(value)}</{tag}>" for tag, value in values.items())
    return f"<VM>{inner}</VM>", json.dumps({"VM": values}, separators=(",", ":"))
