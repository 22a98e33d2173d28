"""Prepare: copies of the zone, migrated ahead on the new nodes while production runs."""

from dataclasses import dataclass

from onebaton.errors import StepFailedError
from onebaton.model import AheadStage, Host
from onebaton.steps.ahead import follow_closely
from onebaton.steps.parallel import on_all
from onebaton.steps.site import Site
from onebaton.steps.step import NEEDED, Check

#: ``SERVER_ID`` of a server that has no part in the zone: the first start gives it its own.
ALONE = -1
#: Stages at which the migrated copy is whole.
WHOLE = (AheadStage.MIGRATED, AheadStage.HELD)


@dataclass(frozen=True, slots=True)
class PrepareStep:
    """Migrate each target's copy whole, then let it follow; production is only read.

    :param source: the machine whose log is shipped, a follower's.
    """

    id: str
    site: Site
    source: Host
    targets: tuple[Host, ...]

    def check(self) -> Check:
        """Needed for as long as the plan says so: it saw how far each copy is."""
        return NEEDED

    def apply(self) -> None:
        """All targets at the same time; the migrator takes as long as it takes."""
        on_all(self.targets, self._prepare)

    def _prepare(self, host: Host) -> None:
        site = self.site
        ahead = site.frontends.facts(host).ahead
        if ahead is None or ahead.stage not in WHOLE:
            # The migrator works as the database's own user, which a seed does not bring along.
            site.frontends.configure(
                host, server_id=ALONE, election_timeout_ms=site.oned.election_timeout_ms
            )
            run = site.standby.begin(host, timeout_s=site.timeouts.seed_s)
            site.reporter.note(f"{host.name}: migrated ahead in {run.seconds:.1f} s")
        follow_closely(site, self.source, host)

    def verify(self) -> None:
        """Each one says that its migrated copy is whole."""
        for host in self.targets:
            ahead = self.site.frontends.facts(host).ahead
            if ahead is None or ahead.stage not in WHOLE:
                raise StepFailedError(
                    f"the copy on {host.name} is not migrated whole",
                    resolution="Run the same command again: it begins that copy anew.",
                )
