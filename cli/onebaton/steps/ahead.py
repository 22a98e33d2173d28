"""Copies that are migrated ahead: how they come level, and how they are proven to be."""

from onebaton.errors import StepFailedError
from onebaton.model import Host, RaftState
from onebaton.steps.seeing import require_parity_brought
from onebaton.steps.site import Site

#: Following is repeated until a batch holds no more records than this: the last one is brought
#: over while nobody serves.
TINY_BATCH_RECORDS = 40
#: Or until batches become no smaller than this part of the one before: most of a batch's time is
#: the migrator's start (1.6 s, measured note), so that under writes each one holds what was
#: written during the one before it, and none will ever be tiny.
AS_SMALL_AS_THEY_GET = 0.7
#: A batch larger than this many times the one before: the zone runs away.
RUNS_AWAY = 1.5
MAX_BATCHES = 10


def follow_closely(site: Site, source: Host, host: Host) -> None:
    """Bring a copy over in batches, until one is tiny or they become no smaller.

    :raises StepFailedError: if the zone writes faster than it can be followed.
    """
    before: int | None = None
    for _ in range(MAX_BATCHES):
        batch = site.standby.follow(
            source, host, left_alone=site.left_alone, timeout_s=site.timeouts.catch_up_s
        )
        site.reporter.progress(
            f"{batch.records} log records brought over to {host.name}, "
            f"{batch.migrator_s:.1f} s of it in the migrator"
        )
        if batch.records <= TINY_BATCH_RECORDS:
            return
        if (
            before is not None
            and AS_SMALL_AS_THEY_GET * before <= batch.records <= RUNS_AWAY * before
        ):
            return
        before = batch.records
    raise StepFailedError(
        f"{host.name} does not become level with {source.name}: the zone writes faster than its "
        "changes can be migrated",
        resolution="Run the same command again when there is less to write.",
    )


def wait_stands(site: Site, host: Host) -> None:
    """Wait until a held stand-by stands for an election that it cannot win.

    Its warm-up is over then: in the cut there is no time for that.

    :raises DeadlineError: if it does not in time.
    """

    def look() -> bool | str:
        status = site.standby.held_status(host)
        if status is None:
            return "it does not answer on its node"
        return True if status.state is RaftState.CANDIDATE else status.state.name.lower()

    site.wait_for(
        f"{host.name} to stand for an election that it cannot win",
        look,
        timeout_s=site.timeouts.start_s,
    )


def require_warm_parity(site: Site, source: Host, host: Host) -> None:
    """Prove the warm database equal to its source, at an index of our choosing.

    :raises StepFailedError: if a table differs.
    """

    def bring(index: int) -> None:
        site.standby.follow(
            source,
            host,
            up_to=index,
            left_alone=site.left_alone,
            timeout_s=site.timeouts.catch_up_s,
        )

    require_parity_brought(
        site,
        source,
        f"the warm copy on {host.name}",
        bring=bring,
        read=lambda: site.standby.warm_checksums(host),
        resolution=(
            f"It serves nobody. Destroy {host.name}, then run the same command again: it makes "
            "the copy anew."
        ),
    )
