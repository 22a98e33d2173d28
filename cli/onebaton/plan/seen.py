"""What the words and the facts of machines tell by themselves, whatever is wanted."""

from onebaton.model import (
    AheadStage,
    FrontEndFacts,
    Member,
    NodeState,
    RaftState,
    Schema,
    World,
)


def stage_of(facts: FrontEndFacts) -> AheadStage | None:
    """How far a machine is with a copy migrated ahead; ``None`` without one."""
    return facts.ahead.stage if facts.ahead is not None else None


def answers(member: Member) -> bool:
    """It speaks for itself as a member of the zone."""
    return member.raft is not None and member.raft.state is not RaftState.SOLO


def put_away(member: Member) -> bool:
    """Seen stopped and masked: it will not come back by itself."""
    facts = member.facts
    stopped = facts is not None and not facts.oned_active and facts.oned_masked
    return stopped and member.raft is None


def parked(member: Member) -> bool:
    """Noted on its machine as out of service by an operator's wish."""
    return member.facts is not None and member.facts.parked_at is not None


def passed_over(member: Member) -> int | None:
    """The record that its log passed over: its tables are not what the zone agreed on."""
    position = member.facts.database if member.facts is not None else None
    return position.passed_over if position is not None else None


def diverged(member: Member) -> bool:
    """It holds other data than the zone."""
    return passed_over(member) is not None


def schema_of(world: World) -> Schema | None:
    """Of the zone's databases: the leader's; while there is none, any member's, by server id."""
    ordered = sorted(world.members, key=lambda m: (not m.is_leader, m.server.id))
    seen = (m.facts.schema for m in ordered if m.facts is not None)
    return next((schema for schema in seen if schema is not None), None)


def machine_gone(member: Member) -> bool:
    """The platform has no machine for it any more, and nobody answers at its address."""
    there = member.node is not None and member.node.state is not NodeState.VANISHED
    return not there and member.facts is None and member.raft is None
