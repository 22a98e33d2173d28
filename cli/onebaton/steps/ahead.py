"""Copies that are migrated ahead: how they come level, and how they are proven to be."""

from onebaton.model import Host, RaftState
from onebaton.steps.rounds import until_level
from onebaton.steps.seeing import require_parity_brought
from onebaton.steps.site import Site

#: A batch with so few log records is next to nothing. Most of a batch's time is the migrator's
#: start (1.6 s, measured note), so that under writes none may ever be that small.
TINY_BATCH_RECORDS = 40


def follow_closely(site: Site, source: Host, host: Host) -> None:
    """Bring a copy over in batches, until one is tiny or they become no smaller.

    :raises StepFailedError: if the zone writes faster than it can be followed.
    """

    def bring() -> int:
        batch = site.standby.follow(
            source, host, left_alone=site.left_alone, timeout_s=site.timeouts.catch_up_s
        )
        site.reporter.progress(
            f"{batch.records} log records brought over to {host.name}, "
            f"{batch.migrator_s:.1f} s of it in the migrator"
        )
        return batch.records

    slow = "its changes can be migrated"
    until_level(bring, tiny=TINY_BATCH_RECORDS, source=source, host=host, slow=slow)


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
