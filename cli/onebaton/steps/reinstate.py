"""Reinstate: a cut-over is taken back because the operator says so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from onebaton.errors import RefusedError, UnavailableError
from onebaton.model import Host, PriorPhase
from onebaton.steps.parallel import on_each
from onebaton.steps.seeing import wait_one_vip_holder
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check, blocked
from onebaton.steps.takeback import OldServer, bring_back, forget, put_away


@dataclass(frozen=True, slots=True)
class ReinstateStep:
    """The new servers stop for good, the old generation serves again.

    What was written since the cut is lost; who asks for this was told how much.

    :param new: machines of the new generation.
    :param lead: those of them that lead, or are to lead.
    :param old: the old generation.
    :param leader_id: the old server that led.
    """

    id: str
    site: Site
    new: tuple[Host, ...]
    lead: tuple[Host, ...]
    old: tuple[OldServer, ...]
    leader_id: int

    def check(self) -> Check:
        """Done without a record; blocked once the old generation was given up."""
        record = self.site.priors.load()
        if record is None:
            return DONE
        if record.phase is PriorPhase.FINAL:
            return blocked("the cut-over is final: the old generation was given up")
        return NEEDED

    def apply(self) -> None:
        """Note it, stop the new ones, bring the old ones back, forget the cut-over.

        The record says that the old generation is not served yet, so that a run that is killed
        in here, and then repeated, sees that generation and not the new one.
        """
        site = self.site
        record = site.priors.load()
        if record is None:
            return
        running = self._running()
        began = replace(
            record,
            phase=PriorPhase.CUTTING,
            served_at=record.served_at or site.clock.now(),
        )
        site.priors.save(began)
        put_away(site, running)
        site.reporter.note(f"stopped and masked: {', '.join(h.name for h in running)}")
        bring_back(site, self.old, self.leader_id)
        forget(site, running)

    def verify(self) -> None:
        """One of the old machines alone holds the virtual IP."""
        leader = self.site.wait_for(
            "the old generation to lead",
            lambda: self.site.observe().leader or "nobody leads",
            timeout_s=self.site.timeouts.election_s,
        )
        wait_one_vip_holder(self.site, leader.host)

    def _running(self) -> tuple[Host, ...]:
        """New machines that can be reached.

        :raises RefusedError: if those that cannot might serve the new zone.
        """
        answers = on_each(self.new, self.site.frontends.facts)
        lost = [host for host, answer in answers.items() if isinstance(answer, UnavailableError)]
        if set(lost) & set(self.lead) or 2 * len(lost) > len(self.new):
            raise _refused(lost)
        for host in lost:
            self.site.reporter.warn(
                f"{host.name} cannot be reached; when it comes back, stop and mask "
                "opennebula.service there: it would topple the old leader"
            )
        return tuple(host for host in self.new if host not in lost)


def _refused(lost: Sequence[Host]) -> RefusedError:
    names = ", ".join(host.name for host in lost)
    return RefusedError(
        f"{names} cannot be reached and may serve the new zone: nothing was changed",
        details=["two generations that lead at the same time could not be brought together"],
        resolution=f"Bring {names} back, or destroy it if it is lost; then run the same command.",
    )
