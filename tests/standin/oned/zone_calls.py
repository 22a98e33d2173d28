"""Methods of the zone: its servers, and what they say to each other.

Source: ``RequestManagerZone.cc``; shapes and texts are the recorded ones.
"""

from __future__ import annotations

import threading

from onecore.template import Template, TemplateError
from oned import objects
from oned.calls import (
    ACTION,
    AUTHORIZATION,
    INTERNAL,
    Arguments,
    Caller,
    Calls,
    Method,
    Refused,
    missing,
    not_authorized,
    reading,
)
from oned.record import Record
from oned.replication import TERM_MASK


class ZoneCalls:
    """The methods ``one.zone.*`` that change or replicate."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._table = calls.zone
        self._zone_id = calls.zone.zone_id
        self._lock = threading.Lock()
        self._replicating = threading.Lock()
        calls.methods.update(
            {
                "one.zone.raftstatus": reading(self.raft_status),
                "one.zone.addserver": Method(self.add_server),
                "one.zone.delserver": Method(self.delete_server),
                "one.zone.resetserver": Method(self.reset_server),
                "one.zone.enable": Method(self.enable, when_disabled=True),
                "one.zone.update": Method(self.update),
                "one.zone.replicate": Method(
                    self.replicate, leader_only=False, when_disabled=True, quiet=True
                ),
                "one.zone.voterequest": Method(
                    self.vote_request, leader_only=False, when_disabled=True, quiet=True
                ),
            }
        )

    def _zone(self) -> objects.Zone:
        zone = self._table.read()
        if zone is None:
            raise missing("zone", self._zone_id)
        return zone

    def _check(self, caller: Caller, zone_id: int, text: str) -> None:
        if zone_id != self._zone_id:
            raise Refused(ACTION, text)
        if not caller.is_admin:
            raise not_authorized(caller, "zone")

    def raft_status(self, caller: Caller, arguments: Arguments) -> str:
        """``one.zone.raftstatus``: of the server asked, whatever its part."""
        return self._calls.raft.to_xml()

    def add_server(self, caller: Caller, arguments: Arguments) -> int:
        """``one.zone.addserver``: answers the zone's id and looks at no names."""
        zone_id = arguments.number(1)
        self._check(caller, zone_id, "Servers have to be added through the target zone endpoints")
        try:
            template = Template.parse(arguments.text(2))
        except TemplateError as error:
            raise Refused(ACTION, str(error)) from error
        given = template.vector("SERVER")
        if given is None:
            raise Refused(ACTION, "")
        with self._lock:
            zone = self._zone()
            for name in ("NAME", "ENDPOINT"):
                if not given.get(name):
                    raise Refused(ACTION, f"Missing {name} in SERVER")
            server_id = zone.next_server_id()
            zone.servers.append({**given, "ID": str(server_id)})
            self._table.write(zone)
        self._calls.raft.add_server(server_id, given["ENDPOINT"])
        return zone_id

    def delete_server(self, caller: Caller, arguments: Arguments) -> int:
        """``one.zone.delserver``: the server deleted goes on running, and voting."""
        zone_id, server_id = arguments.number(1), arguments.number(2)
        self._check(caller, zone_id, "Servers have to be deleted through the target zone endpoints")
        with self._lock:
            zone = self._zone()
            left = [one for one in zone.servers if one.get("ID") != str(server_id)]
            if len(left) == len(zone.servers):
                raise Refused(ACTION, "SERVER not found in zone")
            zone.servers = left
            self._calls.raft.delete_server(server_id)
            self._table.write(zone)
        return zone_id

    def reset_server(self, caller: Caller, arguments: Arguments) -> int:
        """``one.zone.resetserver``: replicate to it from the end of the log on."""
        zone_id, server_id = arguments.number(1), arguments.number(2)
        self._check(caller, zone_id, "Servers have to be deleted through the target zone endpoints")
        self._calls.raft.reset_index(server_id)
        return zone_id

    def enable(self, caller: Caller, arguments: Arguments) -> int:
        """``one.zone.enable``: enable the zone, or disable it."""
        zone_id, enabled = arguments.number(1), arguments.flag(2)
        self._check(
            caller,
            zone_id,
            "Enable/disable mode have to be set through the target zone endpoints",
        )
        with self._lock:
            zone = self._zone()
            zone.state = 0 if enabled else 1
            self._table.write(zone)
            self._table.disabled = not enabled
        return zone_id

    def update(self, caller: Caller, arguments: Arguments) -> int:
        """``one.zone.update``: replace the zone's template, or add to it."""
        zone_id = arguments.number(1)
        self._check(caller, zone_id, "Zones have to be updated through the target zone endpoints")
        try:
            template = Template.parse(arguments.text(2))
        except TemplateError as error:
            raise Refused(INTERNAL, str(error)) from error
        with self._lock:
            zone = self._zone()
            if len(arguments) > 3 and arguments.number(3) == 1:
                zone.template.merge(template)
            else:
                zone.template = template
            if not self._table.write(zone):
                raise Refused(ACTION, "")
        return zone_id

    def vote_request(self, caller: Caller, arguments: Arguments) -> int:
        """``one.zone.voterequest``: looks at term and log, never at membership."""
        raft = self._calls.raft
        term = arguments.number(1) & TERM_MASK
        candidate = arguments.number(2)
        index = arguments.long(3)
        log_term = arguments.number(4) & TERM_MASK
        current = raft.term
        own_index, own_term = raft.log.last()
        if candidate < 0:
            raise Refused(INTERNAL, "", current)
        if not caller.is_oneadmin:
            raise not_authorized(caller, "zone", current)
        if term < current:
            raise Refused(ACTION, "Candidate's term is outdated", current)
        if term > current:
            self._calls.journal.info(
                "ReM", f"New term ({term}) discovered from candidate {candidate}"
            )
            raft.follower(term)
        if (own_term, own_index) > (log_term, index):
            raise Refused(ACTION, "Candidate's log is outdated", current)
        if not raft.vote_for(candidate):
            raise Refused(ACTION, "Already voted for another candidate", current)
        return current

    def replicate(self, caller: Caller, arguments: Arguments) -> int:
        """``one.zone.replicate``: a heartbeat, or a record to log."""
        raft = self._calls.raft
        leader, leader_commit = arguments.number(1), arguments.long(2)
        term = arguments.number(3) & TERM_MASK
        record = Record(
            index=arguments.long(4),
            term=arguments.number(5) & TERM_MASK,
            prev_index=arguments.long(6),
            prev_term=arguments.number(7) & TERM_MASK,
            fed_index=arguments.long(8),
            sql=arguments.text(9),
        )
        current = raft.term
        if not caller.is_oneadmin:
            raise Refused(
                AUTHORIZATION,
                f"User [{caller.uid}] not authorized to perform action on zone.",
                current,
            )
        if term < current:
            text = f"Leader term ({term}) is outdated ({current})"
            self._calls.journal.info("ReM", text)
            raise Refused(ACTION, text, current)
        if term > current:
            self._calls.journal.info("ReM", f"New term ({term}) discovered from leader {leader}")
            raft.follower(term)
        if raft.is_candidate():
            raft.follower(term)
        raft.heard_from(leader)
        if not (record.index or record.prev_index or record.term or record.prev_term or record.sql):
            last, _ = raft.log.last()
            raft.log.apply(raft.advance_commit(leader_commit, last))
            return current
        if not record.sql:
            raise Refused(ACTION, "Empty SQL command in log record", current)
        with self._replicating:
            self._log(record, current)
        raft.log.apply(raft.advance_commit(leader_commit, record.index))
        return current

    def _log(self, record: Record, current: int) -> None:
        log = self._calls.raft.log
        known = log.terms(record.prev_index, record.index)
        if record.index > 0:
            if record.prev_index not in known:
                raise Refused(ACTION, "Error loading previous log record", current)
            if known[record.prev_index] != record.prev_term:
                raise Refused(ACTION, "Previous log record missmatch", current)
        if record.index in known:
            if known[record.index] == record.term:
                return
            log.cut(record.index)
        if not log.store(record):
            raise Refused(ACTION, "Error writing log record", current)
