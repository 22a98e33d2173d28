"""Cut over: the old generation stops for good, and a new server with the next release leads.

The most dangerous step there is. What must hold at every moment:

* nothing is acknowledged after the freeze, and everything acknowledged before it is in the
  database that leads next;
* never two generations lead, and never two machines hold the virtual IP;
* until the new server may win its election, everything can be taken back, and is when anything
  fails; once it has led, it is never taken back by itself.
"""

from dataclasses import dataclass, replace
from typing import NoReturn

from onebaton.errors import OnebatonError, RefusedError, StepFailedError, UnavailableError
from onebaton.model import (
    AheadStage,
    FrontEndFacts,
    Host,
    NodeState,
    Prior,
    PriorPhase,
    RaftState,
    Server,
)
from onebaton.plan.actions import CutWay
from onebaton.steps.ahead import follow_closely, require_warm_parity, wait_stands
from onebaton.steps.complete import complete_others
from onebaton.steps.crossing import Crossing
from onebaton.steps.join import require_parity_before_start, ship_until_level
from onebaton.steps.seeing import expected_leader, wait_one_vip_holder
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check, blocked
from onebaton.steps.takeback import OldServer, bring_back, forget, put_away

#: So many virtual machines, and so many images, are looked at for operations in flight.
TRANSIENTS_LIMIT = 1000
TRANSIENTS_TOLD = 10
#: Stages at which a stand-by runs.
STANDING = (AheadStage.HELD, AheadStage.RELEASED)


@dataclass(frozen=True, slots=True)
class CutOverStep:
    """From the old generation to one new server; the other new nodes join it next.

    :param host: the new node that is to lead.
    :param server: what it is in the new zone: the id after the highest of the old ones.
    :param prior: the old generation, as it will be noted, or as a killed run has noted it.
    :param old: its servers with their machines, ordered by id.
    :param others: new nodes whose copies are completed afterwards.
    :param election_timeout_ms: of the new server: short, as it is the one to lead.
    """

    id: str
    site: Site
    way: CutWay
    host: Host
    server: Server
    prior: Prior
    old: tuple[OldServer, ...]
    others: tuple[Host, ...]
    election_timeout_ms: int

    @property
    def _leader(self) -> OldServer:
        return next(one for one in self.old if one.server.id == self.prior.leader_id)

    @property
    def _crossing(self) -> Crossing:
        return Crossing(self.site, self.host, self.server, self.old, self._leader)

    def check(self) -> Check:
        """Blocked unless the old leader leads and the new node is ready for its place.

        A cut that was begun is needed whatever it looks like: it is finished or taken back.
        """
        record = self.site.priors.load()
        if record is not None and record.phase is PriorPhase.SERVED:
            return DONE
        if record is not None and record.phase is PriorPhase.CUTTING:
            if record.served_at is not None:
                return blocked("the last cut-over is being taken back: finish that first")
            return NEEDED
        try:
            expected_leader(self.site, self._leader.server)
        except RefusedError as error:
            return blocked(error.message)
        problem = self._not_ready(self.site.frontends.facts(self.host))
        return NEEDED if problem is None else blocked(problem)

    def apply(self) -> None:
        """Come near, cross over, and complete the others' copies.

        A run that was killed in here left a record, and the world as it was then: what has
        come so far that it can go on goes on, all else is taken back.
        """
        record = self._begun()
        if record is not None and (problem := self._hopeless(record)) is not None:
            self._take_back(record, problem, harmless=record.cut_index is None)
        if record is None or self._old_leads():
            self._come_near()
            record = replace(self.prior, began_at=self.site.clock.now(), served_at=None)
            record = replace(record, phase=PriorPhase.CUTTING, cut_index=None)
            self.site.priors.save(record)
        served = self._cross(record)
        complete_others(self.site, served, self._leader.host, (self.server, self.host), self.others)

    def verify(self) -> None:
        """Nobody but the new server's machine holds the virtual IP."""
        wait_one_vip_holder(self.site, self.host)

    # Before the outage

    def _come_near(self) -> None:
        """All that takes time, while the old generation still serves.

        :raises RefusedError: if the old leader leads no more, or the new node is not ready.
        """
        self._tell_transients()
        source = self._leader.host
        if self.way == "stand-by":
            wait_stands(self.site, self.host)
            follow_closely(self.site, source, self.host)
            require_warm_parity(self.site, source, self.host)
        else:
            # The migrator works as the database's own user, which a seed does not bring along.
            self.site.frontends.configure(
                self.host,
                server_id=self.server.id,
                election_timeout_ms=self.election_timeout_ms,
                server_ids=(self.server.id,),
            )
            ship_until_level(self.site, source, self.host)
            require_parity_before_start(self.site, source, self.host)
        expected_leader(self.site, self._leader.server)
        problem = self._not_ready(self.site.frontends.facts(self.host))
        if problem is not None:
            raise RefusedError(problem, resolution="Run the same command again: it plans anew.")

    def _not_ready(self, facts: FrontEndFacts) -> str | None:
        name = self.host.name
        if self.way == "plain":
            if facts.database is None or facts.schema != self.prior.schema:
                return f"{name} holds no copy of the zone's database"
            return f"oned runs on {name} already" if facts.oned_active else None
        held = facts.ahead is not None and facts.ahead.stage is AheadStage.HELD
        return None if held and facts.oned_active else f"no stand-by is held on {name}"

    def _tell_transients(self) -> None:
        """Operations in flight are lost at a change of leader (one#2038): announced, no more."""
        try:
            seen = self.site.api.transients(self.site.vip_endpoint, limit=TRANSIENTS_LIMIT)
        except OnebatonError as error:
            self.site.reporter.warn(f"operations in flight are not known: {error.message}")
            return
        for one in seen.found[:TRANSIENTS_TOLD]:
            self.site.reporter.warn(f"{one.kind} {one.id} ({one.name}) is in {one.state}")
        if len(seen.found) > TRANSIENTS_TOLD:
            left = len(seen.found) - TRANSIENTS_TOLD
            self.site.reporter.warn(f"{left} more operations are in flight")

    # The outage

    def _cross(self, prior: Prior) -> Prior:
        """Freeze, bring over, let lead, serve: until the new server may win, all of it or nothing.

        :returns: the record, served.
        """
        crossing = self._crossing
        released = prior.cut_index is not None and self._released(self._facts())
        if released and self._new_leads():
            return crossing.serve(prior)
        try:
            crossing.freeze()
            if not released:
                prior = self._bring_over(crossing, prior)
        except OnebatonError as error:
            self._take_back(prior, error, harmless=not released)
        try:
            self._let_lead(crossing, again=released)
        except OnebatonError as error:
            self._take_back(prior, error, harmless=False)
        return crossing.serve(prior)

    def _bring_over(self, crossing: Crossing, prior: Prior) -> Prior:
        known = crossing.prove(prior)
        if self.way == "stand-by":
            crossing.bring_ahead(known)
        else:
            crossing.bring_plain(known, self._facts())
        crossing.require_time_left(known)
        return known

    def _let_lead(self, crossing: Crossing, *, again: bool) -> None:
        """A stand-by that has led, and was switched off since, has its list and is started."""
        if self.way == "plain" or (again and not self._facts().oned_active):
            crossing.start()
        else:
            crossing.release()
        crossing.wait_leads()

    # What a killed run left

    def _begun(self) -> Prior | None:
        record = self.site.priors.load()
        return record if record is not None and record.phase is PriorPhase.CUTTING else None

    def _old_leads(self) -> bool:
        try:
            expected_leader(self.site, self._leader.server)
        except (RefusedError, UnavailableError):
            return False
        return True

    def _new_leads(self) -> bool:
        try:
            own = self.site.api.raft_status(self.server.endpoint)
        except UnavailableError:
            return False
        return own.state is RaftState.LEADER

    def _facts(self) -> FrontEndFacts:
        return self.site.frontends.facts(self.host)

    def _released(self, facts: FrontEndFacts) -> bool:
        """It may have won an election."""
        if self.way == "plain":
            return facts.oned_active
        return facts.ahead is not None and facts.ahead.stage is AheadStage.RELEASED

    def _wrote(self, record: Prior, facts: FrontEndFacts) -> bool:
        """The new database holds a record that the old ones do not: it has led."""
        if facts.database is None or record.cut_index is None or facts.schema == record.schema:
            return False
        led = self.way == "plain" or self._released(facts)
        return led and facts.database.last_index > record.cut_index

    def _hopeless(self, record: Prior) -> OnebatonError | None:
        """Why a cut that was begun cannot go on; ``None`` if it can."""
        try:
            facts = self._facts()
        except UnavailableError as error:
            return error
        if self._wrote(record, facts):
            return None
        name = self.host.name
        if self._released(facts) and self._old_leads():
            return RefusedError(f"{self._leader.server.name} leads again, and {name} may lead too")
        if facts.oned_masked:
            return RefusedError(f"{name} was put away")
        return self._fallen(facts)

    def _fallen(self, facts: FrontEndFacts) -> OnebatonError | None:
        """Why the node is no longer what it was when the cut began."""
        if self.way == "plain":
            gone = facts.database is None
            return RefusedError(f"{self.host.name} has no database") if gone else None
        held = facts.ahead is not None and facts.ahead.stage in STANDING
        if held and facts.oned_active:
            return None
        return RefusedError(f"no stand-by is held on {self.host.name} any more")

    # Taking back

    def _take_back(self, prior: Prior, error: OnebatonError, *, harmless: bool) -> NoReturn:
        """Stop the new server, see it stopped, bring the old generation back, say so.

        :param harmless: the new server has not had a list yet in which it can win.
        :raises StepFailedError: always.
        """
        site = self.site
        try:
            self._require_not_served(prior, harmless=harmless)
            bring_back(site, self.old, prior.leader_id)
        except OnebatonError as second:
            raise StepFailedError(
                f"the cut-over failed and was not taken back: {second.message}",
                details=[*second.details, f"it failed because: {error.message}", *error.details],
                resolution=second.resolution
                or "Run the same command again: it finishes the cut-over or takes it back.",
            ) from error
        forget(site, [self.host])
        raise StepFailedError(
            f"the cut-over failed and was taken back; the old generation serves: {error.message}",
            details=error.details,
            resolution=error.resolution
            or "When that is put right, run the same command again: it prepares the node anew.",
        ) from error

    def _require_not_served(self, prior: Prior, *, harmless: bool) -> None:
        """See the new server stopped, and that it has taken no write.

        :raises StepFailedError: if it leads, or has led.
        :raises UnavailableError: if its machine cannot be reached, and it may have led.
        """
        again = (
            "Run the same command again to go on with it; 'onebaton rollback' gives up what it "
            "has taken and brings the old generation back."
        )
        if not harmless and self._new_leads():
            raise StepFailedError(f"{self.server.name} leads the new zone", resolution=again)
        try:
            put_away(self.site, [self.host])
        except UnavailableError:
            if harmless or self._vanished():
                return
            raise
        if not harmless and self._wrote(prior, self._facts()):
            raise StepFailedError(f"{self.server.name} has taken writes", resolution=again)

    def _vanished(self) -> bool:
        """The platform has no such machine any more: it will never serve."""
        return not any(
            node.spec.name == self.host.name and node.state is not NodeState.VANISHED
            for node in self.site.platform.nodes()
        )
