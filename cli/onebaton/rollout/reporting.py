"""From what was seen and done to what a command shows."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from onebaton.cloning import Clone, CloneRow
from onebaton.model import (
    AheadStage,
    FrontEndFacts,
    Health,
    Member,
    Node,
    PriorPhase,
    Vip,
    World,
)
from onebaton.plan.actions import Destroy, Fence, Plan, Retire, Swap
from onebaton.plan.diagnosis import Diagnosis
from onebaton.plan.quorum import Quorum
from onebaton.plan.underway import Goal, half_done
from onebaton.plan.wanted import Wanted
from onebaton.rollout.cut_report import kept
from onebaton.rollout.stage_notes import Waiting
from onebaton.views import (
    AbortView,
    DiagnosisRow,
    DoctorView,
    MemberRow,
    NodeRow,
    StatusView,
)


def abort_view(given_up: Wanted, plan: Plan) -> AbortView:
    """What an operator decides on.

    :param plan: of giving it up.
    """
    leaving = [action for action in plan.actions if isinstance(action, Retire | Fence)]
    fenced = [action.node for action in leaving if isinstance(action, Fence)]
    destroyed = [a.names for a in plan.actions if isinstance(a, Destroy)]
    return AbortView(
        given_up.zone,
        given_up.image.version,
        retires=tuple(action.server.name for action in leaving),
        destroys=(*fenced, *(name for names in destroyed for name in names)),
        swaps=tuple(action.node.name for action in plan.actions if isinstance(action, Swap)),
    )


def status_view(
    world: World,
    vip: Vip,
    observed_at: float,
    goal: Goal | None = None,
    revoked: Mapping[str, str] = MappingProxyType({}),
    *,
    clones: Sequence[Clone] = (),
    itself: Clone | None = None,
    waiting: Waiting | None = None,
) -> StatusView:
    """The zone and its nodes as observed.

    :param clones: of the zone.
    :param itself: what is noted of it, if it is a clone.
    :param goal: of the rollout that did not come to its end.
    :param revoked: why images were, by digest.
    :param waiting: for an approval.
    """
    members = tuple(_member_row(member) for member in world.members)
    ids = {member.host.name: member.server.id for member in world.members}
    nodes = tuple(
        NodeRow(
            name=node.spec.name,
            address=node.spec.address,
            state=node.state.value,
            generation=node.spec.generation,
            image=node.spec.image,
            server_id=ids.get(node.spec.name),
            role=_role(node, world),
        )
        for node in world.nodes
    )
    leader = world.leader
    return StatusView(
        zone_id=world.zone.id,
        zone_name=world.zone.name,
        enabled=world.zone.enabled,
        vip=vip.cidr,
        vip_holders=world.vip_holders,
        leader=leader.server.name if leader is not None else None,
        observed_at=observed_at,
        members=members,
        nodes=nodes,
        problems=(*_problems(world), *_on_revoked(world, revoked)),
        notes=(
            *((label(itself, observed_at),) if itself is not None else ()),
            *_under_way(world),
            *_half_done(goal, world),
            *_waiting(waiting),
            *_past_their_time(clones, observed_at),
        ),
    )


def clone_row(clone: Clone, now: float) -> CloneRow:
    """A clone in a list."""
    return CloneRow(
        name=clone.name,
        zone=clone.zone,
        of=clone.of,
        subnet=clone.subnet,
        size=clone.size,
        version=clone.version,
        source=clone.source,
        made_at=clone.made_at,
        expires_at=clone.expires_at,
        phase=clone.phase.value,
        expired=clone.expires_at <= now,
    )


def label(clone: Clone, now: float) -> str:
    """What a clone is, so that nobody takes it for the zone."""
    verb = "expired" if clone.expires_at <= now else "expires"
    return (
        f"this is the clone {clone.name} of the zone {clone.of}, made at {_moment(clone.made_at)} "
        f"of {clone.source or 'nothing yet'}; it {verb} at {_moment(clone.expires_at)}"
    )


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _past_their_time(clones: Sequence[Clone], now: float) -> tuple[str, ...]:
    names = [clone.name for clone in clones if clone.expires_at <= now]
    if not names:
        return ()
    return (
        f"past their time: {', '.join(names)}; `onebaton clone destroy --expired` takes "
        "such clones away",
    )


def _on_revoked(world: World, revoked: Mapping[str, str]) -> Iterator[str]:
    for node in world.nodes:
        reason = revoked.get(node.spec.image_digest)
        if reason is not None:
            yield f"{node.spec.name} runs {node.spec.image}, which was revoked: {reason}"


#: What a node is for whose copy of the zone is migrated ahead.
_AHEAD = {
    AheadStage.WARM: "being migrated ahead",
    AheadStage.MIGRATED: "migrated ahead",
    AheadStage.HELD: "held stand-by",
    AheadStage.RELEASED: "",
}


def _role(node: Node, world: World) -> str:
    """What a node is for in a cut-over."""
    prior = world.prior
    if prior is not None and prior.phase is not PriorPhase.FINAL:
        was_there = any(server.address == node.spec.address for server in prior.zone.servers)
        if was_there and prior.phase is PriorPhase.SERVED:
            return "kept for rollback"
        if was_there:
            return "being cut over"
        if prior.phase is PriorPhase.CUTTING and prior.node == node.spec.name:
            return "taking over"
    facts = world.node_facts.get(node.spec.name)
    return _AHEAD[facts.ahead.stage] if facts is not None and facts.ahead is not None else ""


def _half_done(goal: Goal | None, world: World) -> tuple[str, ...]:
    prior = world.prior
    cutting = prior is not None and prior.phase is PriorPhase.CUTTING
    if goal is None or cutting or not half_done(goal, world):
        return ()
    way = " by swap" if goal.strategy == "swap" else ""
    return (
        f"a rollout{way} to {goal.image} ({goal.version}) is half-done: `onebaton rollout` goes on "
        "with it, `onebaton abort` goes back while that is safe",
    )


def _waiting(waiting: Waiting | None) -> tuple[str, ...]:
    if waiting is None:
        return ()
    return (
        f"the rollout waits for an approval before the stage {waiting.stage}, with "
        f"{len(waiting.steps)} steps left: `{waiting.again}` approves them and goes on",
    )


def _under_way(world: World) -> tuple[str, ...]:
    prior = world.prior
    if prior is None or prior.phase is PriorPhase.FINAL:
        return ()
    if prior.phase is PriorPhase.CUTTING and prior.served_at is not None:
        return ("the last cut-over is being taken back: `onebaton rollback` goes on with it",)
    if prior.phase is PriorPhase.CUTTING:
        return (
            f"a cut-over to {prior.node} is under way: `onebaton rollout` goes on with it, "
            "`onebaton rollback` takes it back",
        )
    return (kept(prior),)


def _member_row(member: Member) -> MemberRow:
    raft, facts, node = member.raft, member.facts, member.node
    return MemberRow(
        id=member.server.id,
        name=member.server.name,
        endpoint=member.server.endpoint,
        state=raft.state.name.lower() if raft is not None else None,
        term=raft.term if raft is not None else None,
        log_index=raft.log_index if raft is not None else None,
        lag=member.lag,
        health=member.health.value,
        version=member.version,
        schema=_schema(facts),
        holds_vip=facts.holds_vip if facts is not None else None,
        node=node.spec.name if node is not None else None,
        generation=node.spec.generation if node is not None else None,
        image=node.spec.image if node is not None else None,
        problem=member.problem,
    )


def _schema(facts: FrontEndFacts | None) -> str | None:
    return str(facts.schema) if facts is not None and facts.schema is not None else None


def _problems(world: World) -> list[str]:
    found = []
    if not world.zone.enabled:
        found.append("the zone is disabled: it refuses writes")
    leaders = [member.server.name for member in world.members if member.is_leader]
    if not leaders:
        found.append("no server leads")
    elif len(leaders) > 1:
        found.append(f"more than one server leads: {', '.join(leaders)}")
    unseen = [member.server.name for member in world.members if member.facts is None]
    holders = world.vip_holders
    if len(holders) > 1:
        found.append(f"the virtual IP is held by {', '.join(holders)}")
    elif not holders and not unseen:
        found.append("the virtual IP is held by no machine")
    if unseen:
        found.append(
            f"not looked into over ssh: the machines of {', '.join(unseen)}; whether they hold "
            "the virtual IP is not known"
        )
    healthy = sum(member.health is Health.HEALTHY for member in world.members)
    quorum = Quorum(len(world.members), healthy)
    if not quorum.holds:
        found.append(
            f"{healthy} of {quorum.voters} servers are healthy, {quorum.needed} are needed"
        )
    return found


def doctor_view(
    world: World, to_version: str, found: Sequence[Diagnosis], observed_at: float
) -> DoctorView:
    """What the doctor found."""
    rows = tuple(
        DiagnosisRow(
            check=one.check,
            verdict=one.verdict.value,
            blocks=one.blocks,
            what=one.what,
            evidence=one.evidence,
            why=one.why,
            way_out=one.way_out,
        )
        for one in found
    )
    return DoctorView(
        zone_name=world.zone.name,
        to_version=to_version,
        observed_at=observed_at,
        blocked=any(one.blocks for one in found),
        rows=rows,
    )
