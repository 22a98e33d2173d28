"""What several steps must see before the next one may begin."""

import uuid
from collections.abc import Callable, Mapping

from onebaton.errors import DeadlineError, OnebatonError, RefusedError, StepFailedError
from onebaton.model import FrontEndFacts, Host, LogPosition, RaftState, RaftStatus, Server, World
from onebaton.steps.site import Site
from onebaton.steps.step import Check, blocked

#: Documents written by steps to see that a write goes through.
CHECK_PREFIX = "onebaton-check-"
#: How often a comparison with a stopped copy is repeated while the source has records pending.
MAX_LOOKS = 6


def expected_leader(site: Site, leader: Server) -> RaftStatus:
    """See that the leader is still the one this plan was made for.

    :raises RefusedError: if another one leads, or none.
    """
    status = site.api.raft_status(leader.endpoint)
    if status.state is not RaftState.LEADER:
        raise RefusedError(
            f"{leader.name} was expected to lead and is now a {status.state.name.lower()}",
            resolution="Run the same command again: it plans anew from what it sees.",
        )
    return status


def require_reached(site: Site, leader: Host, host: Host) -> None:
    """See that the machines of the leader and of a server reach each other, before it starts.

    A server that its leader does not reach stands for election, again and again, and topples it.

    :raises StepFailedError: if one does not reach the other in time.
    """

    def look() -> bool | str:
        # The newer one first: with that it makes itself known.
        for one, other in ((host, leader), (leader, host)):
            if site.frontends.unreached(one, [other]):
                return f"{other.name} does not answer {one.name} on port {site.port}"
        return True

    try:
        site.wait_for(
            f"{leader.name} and {host.name} to reach each other",
            look,
            timeout_s=site.timeouts.election_s,
        )
    except DeadlineError as error:
        raise StepFailedError(
            f"{leader.name} and {host.name} do not reach each other; {host.name} would stand for "
            "election against a healthy leader, and was not started",
            details=error.details,
            resolution=f"Let the servers of the zone reach each other's port {site.port} "
            "(firewalls, security groups, routes), then run the same command again.",
        ) from error


def against_stopping(site: Site, leader: Server, server: Server) -> Check | None:
    """What stands against stopping a server for good: it leads, or the expected leader does not.

    :returns: ``None`` if nothing does.
    """
    try:
        expected_leader(site, leader)
    except RefusedError as error:
        return blocked(error.message)
    return blocked(f"{server.name} leads the zone") if server.id == leader.id else None


def wait_leads_on(site: Site, leader: Server) -> None:
    """Wait until the leader is seen to lead.

    :raises DeadlineError: if it is not in time.
    """

    def look() -> bool | str:
        state = site.api.raft_status(leader.endpoint).state
        return True if state is RaftState.LEADER else state.name.lower()

    site.wait_for(f"{leader.name} to lead on", look, timeout_s=site.timeouts.election_s)


def require_put_away(host: Host, facts: FrontEndFacts) -> None:
    """See that ``oned`` is stopped and masked on a machine, which has no virtual IP either.

    :param facts: of that machine, as they are now.
    :raises StepFailedError: if it still runs, could start, or holds the virtual IP.
    """
    if facts.oned_active or not facts.oned_masked or facts.holds_vip:
        raise StepFailedError(
            f"{host.name} is not seen stopped and masked without the virtual IP",
            resolution=f"Stop and mask opennebula.service on {host.name}, take the virtual IP "
            "off, then run the same command again.",
        )


def wait_caught_up(site: Site, leader: Server, member: Server) -> None:
    """Wait until a member is seen caught up several times in a row.

    Caught up: follower (or leader) of the leader's term, and behind by no more records than
    the gate allows, judged by the leader's index read *before* the member's.

    :raises DeadlineError: if it does not catch up in time.
    """
    in_a_row = 0

    def look() -> bool | str:
        nonlocal in_a_row
        ahead = expected_leader(site, leader)
        try:
            own = site.api.raft_status(member.endpoint)
        except OnebatonError as error:
            in_a_row = 0
            return error.message
        lag = ahead.log_index - own.log_index
        if own.server_id != member.id:
            raise StepFailedError(
                f"{member.name} calls itself server {own.server_id}, the zone calls it {member.id}",
                resolution="Its oned.conf is wrong; run the same command again to rewrite it.",
            )
        if own.state not in (RaftState.FOLLOWER, RaftState.LEADER) or own.term != ahead.term:
            in_a_row = 0
            return f"{own.state.name.lower()} in term {own.term}, the leader's is {ahead.term}"
        if lag > site.gates.max_lag_records:
            in_a_row = 0
            return f"{lag} records behind"
        in_a_row += 1
        if in_a_row < site.gates.caught_up_in_a_row:
            return f"caught up, seen {in_a_row} of {site.gates.caught_up_in_a_row} times"
        return True

    site.wait_for(
        f"{member.name} to catch up", look, timeout_s=site.timeouts.catch_up_s, interval_s=0.3
    )


def wait_write_through(site: Site, name: str, endpoint: str) -> None:
    """Wait until a harmless write goes through one endpoint.

    A server that was never restarted does not learn of members added later and then answers
    every forwarded write with "no leader found" (measured note): health is a write, not a
    state.

    :raises DeadlineError: if none goes through in time.
    """

    def look() -> bool | str:
        try:
            write_once(site, endpoint)
        except RefusedError as error:
            return error.message
        return True

    site.wait_for(
        f"a write through {name}", look, timeout_s=site.timeouts.election_s, interval_s=0.3
    )


def write_once(site: Site, endpoint: str) -> None:
    """One harmless write through an endpoint, and its removal through the virtual IP.

    :raises UnavailableError: if there is no answer.
    :raises RefusedError: if the answer is a refusal.
    """
    document = site.api.create_document(endpoint, f"{CHECK_PREFIX}{uuid.uuid4().hex[:12]}")

    def remove() -> bool | str:
        # Refused in an election, for instance; given up, it would stay in the zone for good.
        try:
            site.api.delete_document(site.vip_endpoint, document)
        except RefusedError as error:
            return error.message
        return True

    site.wait_for("the write to be undone", remove, timeout_s=site.timeouts.election_s)


def wait_one_vip_holder(site: Site, expected: Host) -> None:
    """Wait until exactly one machine holds the VIP, and it is the leader's.

    :raises DeadlineError: if it stays otherwise.
    """

    def look() -> bool | str:
        holders = site.observe().vip_holders
        if holders == (expected.name,):
            return True
        return f"held by {', '.join(holders) or 'nobody'}"

    site.wait_for(
        f"the virtual IP {site.vip.address} to be on {expected.name} alone",
        look,
        timeout_s=site.timeouts.election_s,
    )


def require_same_secrets(site: Site, source: Host, target: Host) -> None:
    """Compare two nodes' secrets.

    A server whose secret differs rejects the leader with id -1, read as term 4294967295, and
    topples it (source note): compare before ``addserver``.

    :raises StepFailedError: if they differ.
    """
    ours, theirs = (site.frontends.facts(host).secret_digest for host in (source, target))
    if ours is None or ours != theirs:
        raise StepFailedError(
            f"the secrets in /var/lib/one/.one of {target.name} are not those of {source.name}",
            resolution="Run the same command again: it seeds the node anew.",
        )


class TablesDifferError(StepFailedError):
    """Two databases were read well, at an equal log index, and hold other things."""


def require_good_source(site: Site, source: Host) -> None:
    """Prove a follower equal to its leader, before anything is copied from it.

    It may hold other data without knowing: a record whose SQL failed counts as applied (facts,
    "Joining").

    :raises TablesDifferError: if a table differs.
    """
    leader = site.observe().leader
    if leader is None or leader.host.name == source.name:
        return
    require_parity(
        site,
        leader.host,
        source,
        resolution=f"Nothing was copied from {source.name}. Have it seeded anew: `onebaton park "
        f"{source.name}`, drop its database, then `onebaton unpark {source.name}`.",
    )


def require_parity(
    site: Site, source: Host, target: Host, *, resolution: str | None = None
) -> None:
    """Compare two databases, table by table, at an equal and fully applied log index.

    :param resolution: what to do where they differ; by default, with a new node.
    :raises TablesDifferError: if a table differs.
    :raises DeadlineError: if no equal index was met in time.
    """

    def look() -> bool | str:
        (one, ours), (other, theirs) = site.frontends.checksums_at_equal_index(source, target)
        if one.last_applied != other.last_applied:
            # In a quiet zone nothing moves the one that is behind: a write does.
            write_once(site, site.vip_endpoint)
            return f"{source.name} at {one.last_applied}, {target.name} at {other.last_applied}"
        differing = differing_tables(ours, theirs)
        if differing:
            raise TablesDifferError(
                f"the databases of {source.name} and {target.name} differ at log index "
                f"{one.last_applied}",
                details=[f"tables: {', '.join(differing)}"],
                resolution=resolution
                or (
                    f"{target.name} must not lead. Stop and mask opennebula.service on it, take "
                    "it out of the zone (onezone server-del) and drop its database, then run "
                    "the same command again: it seeds the node anew."
                ),
            )
        return True

    site.wait_for(
        f"{target.name} and {source.name} at an equal log index",
        look,
        timeout_s=site.timeouts.catch_up_s,
        interval_s=0.2,
    )


def require_parity_brought(
    site: Site,
    source: Host,
    target: str,
    *,
    bring: Callable[[int], object],
    read: Callable[[], tuple[LogPosition, dict[str, int | None]]],
    resolution: str,
) -> None:
    """Prove a copy that nobody writes to equal to its source, at an index of our choosing.

    The source's tables are read at one moment; the log is then brought to exactly that
    moment's index, so that the comparison needs no luck while writes go on. A source caught
    between a record's SQL and its mark shows more than its index says; a difference counts
    only where none was pending, or when it stays.

    :param target: name of the copy, for messages.
    :param bring: brings the log up to an index into the copy.
    :param read: position and checksums of the copy.
    :raises StepFailedError: if a table differs.
    """
    for look in range(MAX_LOOKS):
        position, ours = site.frontends.table_checksums(source)
        bring(position.last_applied)
        reached, theirs = read()
        if reached.last_applied != position.last_applied:
            raise StepFailedError(
                f"{target} stands at log index {reached.last_applied} and should be at "
                f"{position.last_applied}",
                resolution="Run the same command again.",
            )
        differing = differing_tables(ours, theirs)
        if not differing:
            return
        settled = position.last_index == position.last_applied
        if settled or look == MAX_LOOKS - 1:
            raise StepFailedError(
                f"{target} was seeded wrongly: it differs from {source.name} at log index "
                f"{position.last_applied}",
                details=[f"tables: {', '.join(differing)}"],
                resolution=resolution,
            )


def differing_tables(ours: Mapping[str, int | None], theirs: Mapping[str, int | None]) -> list[str]:
    """Names of the tables whose checksums differ, or that one of both lacks."""
    return sorted(t for t in ours.keys() | theirs.keys() if ours.get(t) != theirs.get(t))


def server_of(world: World, name: str) -> Server:
    """The zone's server on the node of this name.

    :raises RefusedError: if it is no member.
    """
    for member in world.members:
        if member.host.name == name:
            return member.server
    raise RefusedError(f"{name} is not a member of the zone")
