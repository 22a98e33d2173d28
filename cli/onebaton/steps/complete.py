"""After the cut: the other new nodes' copies are completed, and what is left over goes."""

from collections.abc import Sequence

from onebaton.errors import OnebatonError, StepFailedError
from onebaton.model import Host, Prior, Server
from onebaton.steps.crossing import cut_index
from onebaton.steps.join import require_parity_before_start
from onebaton.steps.parallel import on_each
from onebaton.steps.site import Site


def complete_others(
    site: Site, prior: Prior, source: Host, leader: tuple[Server, Host], others: Sequence[Host]
) -> None:
    """Bring the other copies to the old zone's last record, so that they can join at once.

    They are a matter of time alone: one that fails is given up, and seeded anew from the new
    leader like any other node.

    :param source: the old leader's machine, whose database still runs.
    :param leader: the server that leads now, and its machine.
    """
    answers = on_each(others, lambda host: _complete(site, prior, source, leader, host))
    for host, answer in answers.items():
        if isinstance(answer, OnebatonError):
            site.reporter.warn(
                f"the copy on {host.name} cannot be used, it is seeded anew: {answer.message}"
            )
            site.standby.discard(host)
    site.standby.settle(leader[1])


def _complete(
    site: Site, prior: Prior, source: Host, leader: tuple[Server, Host], host: Host
) -> None:
    server, machine = leader
    index = cut_index(prior)
    batch = site.standby.follow(
        source,
        host,
        up_to=index,
        left_alone=site.left_alone,
        timeout_s=site.timeouts.catch_up_s,
    )
    if batch.reached.last_applied != index:
        raise StepFailedError(
            f"it stands at log index {batch.reached.last_applied} and should be at {index}"
        )
    site.standby.list_alone(host, server=server)
    require_parity_before_start(site, machine, host)
    # Last: as long as its notes are there, it is not taken for complete.
    site.standby.settle(host)
