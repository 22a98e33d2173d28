"""The outage of a cut-over, part by part: nobody is served from the freeze to the first write.

Everything here is short, waits in small intervals, and tells how long it took: this is where
the outage goes.
"""

import concurrent.futures
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from onebaton.errors import DeadlineError, StepFailedError, ZoneRefusal
from onebaton.model import FrontEndFacts, Host, Prior, PriorPhase, RaftState, Server
from onebaton.steps.handover import DRAIN_S
from onebaton.steps.parallel import on_all
from onebaton.steps.site import Site
from onebaton.steps.takeback import OldServer, wait_first_write

#: How often it is looked whether the new server leads, in seconds.
LOOK_S = 0.05
#: A steered election takes one second (measured note); after this many it will not come.
LEAD_S = 15.0
#: A heartbeat is refused once at most: a candidate stands again after its timeout alone.
HEARTBEAT_S = 5.0


@dataclass(frozen=True, slots=True)
class Crossing:
    """From the old generation to one new server.

    :param host: the machine of the server that is to lead.
    :param server: that server, as the new zone's list will name it.
    :param old: the old generation.
    :param leader: the old server that leads or led.
    """

    site: Site
    host: Host
    server: Server
    old: tuple[OldServer, ...]
    leader: OldServer

    def freeze(self) -> None:
        """Stop and mask all old servers; from here on nothing is acknowledged."""
        others = tuple(one.host for one in self.old if one != self.leader)
        with self._timed("old servers stopped and masked"):
            self.site.frontends.freeze(self.leader.host, others, drain_s=DRAIN_S)

    def prove(self, prior: Prior) -> Prior:
        """See that no old database holds a record that its leader lacks; note its last one.

        What is acknowledged was applied by the leader first.

        :raises StepFailedError: if another one is ahead of it.
        """
        with self._timed("last record known"):
            found = on_all([one.host for one in self.old], self.site.frontends.log_position)
            ours = found[self.leader.host]
            ahead = [
                f"{host.name}: index {theirs.last_applied} applied, term {theirs.term}"
                for host, theirs in found.items()
                if theirs.last_applied > ours.last_applied or theirs.term > ours.term
            ]
            if ahead:
                raise StepFailedError(
                    f"{self.leader.host.name} led, and other databases hold what its own lacks",
                    details=[
                        f"{self.leader.host.name}: index {ours.last_applied} applied, term "
                        f"{ours.term}",
                        *ahead,
                    ],
                    resolution="Run the same command again: it plans anew from what it sees.",
                )
            known = replace(prior, cut_index=ours.last_applied)
            self.site.priors.save(known)
        return known

    def bring_ahead(self, prior: Prior) -> None:
        """The last batch, through the migrator, and the proof that it is the leader's.

        :raises StepFailedError: if a row differs, or the last record did not come.
        """
        source, index = self.leader.host, cut_index(prior)
        pool = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="cut")
        with self._timed("last records migrated"), pool:
            # Meanwhile: of what keeps it harmless its list is enough, now that nobody serves.
            loosened = pool.submit(self.site.standby.loosen, self.host, server=self.server)
            try:
                batch = self.site.standby.follow(
                    source,
                    self.host,
                    up_to=index,
                    left_alone=self.site.left_alone,
                    timeout_s=self._time_left(prior, self.site.timeouts.catch_up_s),
                )
            except DeadlineError:
                # Where the outage's own limit was the deadline, that is what is told.
                self.require_time_left(prior)
                raise
            loosened.result()
        self._require_reached(batch.reached.last_applied, index)
        with self._timed("last rows compared"):
            differing = self.site.standby.differing_rows(source, self.host)
        if differing:
            raise StepFailedError(
                f"the last records left other rows on {self.host.name} than on {source.name}",
                details=[f"tables: {', '.join(differing)}"],
                resolution="Rehearse again, or cut over the plain way.",
            )

    def bring_plain(self, prior: Prior, facts: FrontEndFacts) -> None:
        """The last records, the real list, and the migration of the whole.

        :param facts: of the new machine; a database of another schema is migrated already.
        :raises StepFailedError: if the last record did not come, or the migrator fails.
        """
        site, index = self.site, cut_index(prior)
        if facts.schema == prior.schema:
            with self._timed("last records shipped"):
                site.frontends.ship_log(self.leader.host, self.host, up_to=index)
                self._require_reached(site.frontends.log_position(self.host).last_applied, index)
            site.standby.list_alone(self.host, server=self.server)
            with self._timed("database migrated"):
                left_s = self._time_left(prior, site.timeouts.seed_s)
                site.standby.upgrade(self.host, timeout_s=left_s)

    def release(self) -> None:
        """Give the held stand-by its real list: the point of no return is its next candidacy.

        The heartbeat makes it a follower; one election timeout later it stands again, and
        reads its list anew.

        :raises StepFailedError: if it does not answer.
        """
        with self._timed("stand-by released"):
            self.site.wait_for(
                f"{self.server.name} to hear a heartbeat",
                self._heard,
                timeout_s=HEARTBEAT_S,
                interval_s=LOOK_S,
            )
            self.site.standby.release(self.host, server=self.server)

    def _heard(self) -> bool | str:
        own = self.site.standby.held_status(self.host)
        if own is None:
            raise StepFailedError(
                f"the stand-by on {self.host.name} does not answer",
                resolution=f"Read /var/log/one/oned.log on {self.host.name}.",
            )
        return self._follows(own.term + 1)

    def _follows(self, term: int) -> bool | str:
        """A candidate may have stood again since its term was read: then the next one does."""
        try:
            self.site.standby.heartbeat(self.host, term)
        except ZoneRefusal as error:
            return error.message
        return True

    def start(self) -> None:
        """Start the new server, and end its warm-up by a heartbeat that carries nothing."""
        with self._timed("new server started"):
            self.site.frontends.start(self.host, timeout_s=self.site.timeouts.start_s)
            own = self.site.api.raft_status(self.server.endpoint)
            if own.state is RaftState.FOLLOWER:
                self.site.api.heartbeat(self.server.endpoint, own.term + 1)

    def wait_leads(self) -> None:
        """Wait until it leads; a candidacy that began with the old list is ended by a heartbeat.

        Only one that is seen twice in a row in the same term: alone in its list it is elected at
        once, and a heartbeat that came right after that would topple it.

        :raises DeadlineError: if it does not lead in time.
        """
        seen_in: int | None = None

        def look() -> bool | str:
            nonlocal seen_in
            own = self.site.api.raft_status(self.server.endpoint)
            stands_in = own.term if own.state is RaftState.CANDIDATE else None
            if stands_in is not None and stands_in == seen_in:
                self._follows(stands_in + 1)
                stands_in = None
            seen_in = stands_in
            return True if own.state is RaftState.LEADER else own.state.name.lower()

        with self._timed("new server leads"):
            self.site.wait_for(
                f"{self.server.name} to lead", look, timeout_s=LEAD_S, interval_s=LOOK_S
            )

    def serve(self, prior: Prior) -> Prior:
        """Wait for the first write through the virtual IP, and note that it was served.

        :raises DeadlineError: if none goes through in time.
        """
        with self._timed("first write through the virtual IP"):
            wait_first_write(self.site)
        served = replace(prior, phase=PriorPhase.SERVED, served_at=self.site.clock.now())
        self.site.priors.save(served)
        self.site.reporter.note(f"writes were out for {self._passed(prior):.1f} s at most")
        return served

    def require_time_left(self, prior: Prior) -> None:
        """Before the point of no return: the outage has not taken longer than is allowed.

        :raises DeadlineError: if it has.
        """
        self._time_left(prior, 0.0)

    def _time_left(self, prior: Prior, usual_s: float) -> float:
        allowed_s = self.site.max_outage_s
        if allowed_s is None:
            return usual_s
        left_s = allowed_s - self._passed(prior)
        if left_s <= 0:
            raise DeadlineError(
                f"the outage takes longer than the {allowed_s:g} s that are allowed: "
                f"{self._passed(prior):.1f} s so far",
                resolution="Look at which part took the time, or allow a longer outage "
                "(max_outage_s).",
            )
        return left_s

    def _passed(self, prior: Prior) -> float:
        return self.site.clock.now() - prior.began_at

    def _require_reached(self, reached: int, index: int) -> None:
        if reached != index:
            raise StepFailedError(
                f"{self.host.name} stands at log index {reached} and should be at {index}",
                resolution="Run the same command again.",
            )

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begin = self.site.clock.monotonic()
        self.site.reporter.progress(f"cutting over: {part}")
        yield
        self.site.reporter.note(f"{part}: {self.site.clock.monotonic() - begin:.2f} s")


def cut_index(prior: Prior) -> int:
    """The old zone's last record.

    :raises StepFailedError: if it is not known yet.
    """
    if prior.cut_index is None:
        raise StepFailedError(
            "the last record of the old zone is not known",
            resolution="Run the same command again.",
        )
    return prior.cut_index
