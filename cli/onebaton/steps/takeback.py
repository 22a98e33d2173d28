"""Taking a cut-over back: the new servers stop for good, then the old generation serves again.

In this order and no other. Two generations that lead at the same time would both acknowledge
writes, and there is no way to bring them together again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onebaton.errors import OnebatonError, StepFailedError, UnavailableError
from onebaton.model import Host, RaftState, RaftStatus, Server
from onebaton.steps.parallel import on_all, on_each
from onebaton.steps.seeing import require_put_away, wait_one_vip_holder, write_once
from onebaton.steps.site import Site

#: How often a zone without service is looked at, in seconds.
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class OldServer:
    """A server of the generation that a cut-over leaves, and its machine."""

    server: Server
    host: Host


def put_away(site: Site, hosts: Sequence[Host]) -> None:
    """Stop and mask ``oned`` on these machines, and see it stopped, without the virtual IP.

    SIGKILL at once: a candidate without a quorum does not end on SIGTERM (measured note), and
    a server that must not serve any more has nothing to finish.

    :raises StepFailedError: if one of them still runs or holds the virtual IP.
    :raises UnavailableError: if one of them cannot be reached: it may still serve.
    """
    on_all(hosts, lambda host: site.frontends.cut_off_leader(host, drain_s=0.0))
    for host, facts in on_all(hosts, site.frontends.facts).items():
        require_put_away(host, facts)


def bring_back(site: Site, old: Sequence[OldServer], leader_id: int) -> Host:
    """Start the old generation and see it serve; its databases were not touched.

    :param leader_id: the server that led, whose log is the newest.
    :returns: the machine of the server that leads now.
    :raises StepFailedError: if no majority of it can be started.
    :raises DeadlineError: if it does not serve in time.
    """
    started = _start(site, old)
    _end_warm_up(site, started, leader_id)
    leader = site.wait_for(
        "the old generation to elect a leader",
        lambda: _leader(site, old),
        timeout_s=site.timeouts.election_s,
        interval_s=LOOK_S,
    )
    wait_first_write(site)
    if leader in started:
        wait_one_vip_holder(site, leader.host)
    else:
        # It was never stopped, and won: the zone is served.
        site.reporter.warn(f"{leader.host.name} leads, and its machine cannot be looked into")
    return leader.host


def wait_first_write(site: Site) -> None:
    """Wait until a write goes through the virtual IP, looking often: nobody is served yet.

    :raises DeadlineError: if none goes through in time.
    """

    def look() -> bool | str:
        try:
            write_once(site, site.vip_endpoint)
        except OnebatonError as error:
            return error.message
        return True

    site.wait_for(
        "a write through the virtual IP",
        look,
        timeout_s=site.timeouts.election_s,
        interval_s=0.05,
    )


def forget(site: Site, new: Sequence[Host]) -> None:
    """Take away what the new nodes hold, then the record: as if there had been no cut-over.

    A node that cannot be reached keeps its database; it is told, and the zone serves anyway.
    """
    for host, answer in on_each(new, site.standby.discard).items():
        if isinstance(answer, OnebatonError):
            site.reporter.warn(f"{host.name} keeps its copy of the zone: {answer.message}")
    site.priors.forget()


def _start(site: Site, old: Sequence[OldServer]) -> list[OldServer]:
    """All at the same time; those that run now."""
    answers = on_each(
        [one.host for one in old],
        lambda host: site.frontends.start(host, timeout_s=site.timeouts.start_s),
    )
    problems = {h: a.message for h, a in answers.items() if isinstance(a, OnebatonError)}
    started = [one for one in old if one.host not in problems]
    if 2 * len(started) <= len(old):
        raise StepFailedError(
            f"the old generation cannot be brought back: {len(started)} of {len(old)} of its "
            "servers run, and nobody serves the zone",
            details=[f"{host.name}: {message}" for host, message in problems.items()],
            resolution="Their databases are untouched. Start opennebula.service on these "
            "machines (systemctl unmask --now opennebula), or run the same command again.",
        )
    for host, message in problems.items():
        site.reporter.warn(f"{host.name} could not be started: {message}")
    return started


def _end_warm_up(site: Site, started: Sequence[OldServer], leader_id: int) -> None:
    """One heartbeat that carries nothing to the server with the newest log (measured note).

    It stands for election an election timeout later, before the others' warm-up is over.
    """
    said = {one: status for one in started if (status := _status(site, one)) is not None}
    if not said or any(status.state is RaftState.LEADER for status in said.values()):
        return
    newest = max(
        said, key=lambda o: (said[o].log_term, said[o].log_index, o.server.id == leader_id)
    )
    highest = max(status.term for status in said.values())
    try:
        site.api.heartbeat(newest.server.endpoint, highest + 1)
    except OnebatonError as error:
        site.reporter.warn(f"{newest.server.name} goes through its warm-up: {error.message}")


def _leader(site: Site, started: Sequence[OldServer]) -> OldServer | str:
    said = {one: _status(site, one) for one in started}
    leaders = [o for o, status in said.items() if status and status.state is RaftState.LEADER]
    if len(leaders) == 1:
        return leaders[0]
    return ", ".join(
        f"{one.server.name} {status.state.name.lower() if status else 'does not answer'}"
        for one, status in said.items()
    )


def _status(site: Site, one: OldServer) -> RaftStatus | None:
    try:
        return site.api.raft_status(one.server.endpoint)
    except UnavailableError:
        return None
