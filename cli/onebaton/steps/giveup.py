"""Give up: a cut-over becomes final, the old generation will not come back."""

from dataclasses import dataclass, replace

from onebaton.errors import OnebatonError, RefusedError
from onebaton.model import Host, PriorPhase
from onebaton.steps.parallel import on_each
from onebaton.steps.seeing import write_once
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check, blocked
from onebaton.steps.takeback import put_away


@dataclass(frozen=True, slots=True)
class GiveUpStep:
    """See the old servers stopped and the new zone served, then say that it is final.

    :param old: machines of the old generation; those that are ours are destroyed next.
    :param new: machines of the new one; what only the way to it needed is taken away there.
    """

    id: str
    site: Site
    old: tuple[Host, ...]
    new: tuple[Host, ...]

    def check(self) -> Check:
        """Done when it is final; blocked before the new generation has served."""
        record = self.site.priors.load()
        if record is None:
            return blocked("there was no cut-over")
        if record.phase is PriorPhase.FINAL:
            return DONE
        if record.phase is PriorPhase.CUTTING:
            return blocked("the cut-over is not complete: finish it, or take it back")
        return NEEDED

    def apply(self) -> None:
        """A write through the virtual IP comes first: without it there is nothing to rely on.

        :raises OnebatonError: if the new generation takes no write, or an old server that can
            be reached does not stop.
        """
        site = self.site
        write_once(site, site.vip_endpoint)
        answers = on_each(self.old, site.frontends.facts)
        silent = [h.name for h, answer in answers.items() if isinstance(answer, OnebatonError)]
        put_away(site, [host for host in self.old if host.name not in silent])
        for name in silent:
            site.reporter.warn(
                f"{name} cannot be reached: if it comes back, opennebula.service must stay "
                "masked there"
            )
        for host, answer in on_each(self.new, site.standby.settle).items():
            if isinstance(answer, OnebatonError):
                site.reporter.warn(f"leftovers stay on {host.name}: {answer.message}")
        record = site.priors.load()
        if record is None:
            raise RefusedError("the record of the cut-over is gone")
        site.priors.save(replace(record, phase=PriorPhase.FINAL))

    def verify(self) -> None:
        """The record says so."""
        self.site.wait_for(
            "the record to be final",
            lambda: True if self.check() is DONE else "not yet",
            timeout_s=self.site.timeouts.start_s,
        )
