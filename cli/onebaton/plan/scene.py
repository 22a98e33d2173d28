"""The observed world in the planner's words: who is new, who is old, who counts.

* A node is of the **new** generation iff it runs the wanted image under a wanted name at that
  name's address; every other node, and every member without a node (a zone that somebody else
  built), is **old**.
* A member **counts** iff it was seen healthy and caught up. Unknown is unhealthy.
* Members and nodes are matched by address.
* A generation that a cut-over left is **kept**, stopped and masked, until the cut-over is made
  final or taken back: its machines are neither wanted nor left over.
"""

from dataclasses import dataclass
from functools import cached_property

from onebaton.model import (
    UNKNOWN_SCHEMA,
    AheadStage,
    FrontEndFacts,
    Health,
    LogPosition,
    Member,
    Node,
    NodeSpec,
    NodeState,
    PriorPhase,
    RaftState,
    Schema,
    World,
)
from onebaton.plan.actions import CutWay
from onebaton.plan.quorum import Quorum
from onebaton.plan.seen import answers, diverged, parked, put_away, schema_of, stage_of
from onebaton.plan.slots import half_swapped, identity, slot_for, swaps
from onebaton.plan.wanted import Wanted

#: Of so many voters none can be missed.
GROWING_MEMBERS = 2


@dataclass(frozen=True)
class Scene:
    """A world, looked at with what is wanted in mind.

    Both never change, so that each thing seen in them is worked out once.

    :param slot: where the new generation lives or will live.
    :param targets: the wanted nodes, in the order in which they join.
    """

    wanted: Wanted
    world: World
    slot: str
    targets: tuple[NodeSpec, ...]

    @classmethod
    def of(cls, wanted: Wanted, world: World) -> "Scene":
        """Choose the slot that already holds new nodes, or else the free one."""
        slot = slot_for(wanted, world)
        return cls(wanted, world, slot, wanted.specs(slot))

    @cached_property
    def swaps(self) -> bool:
        """New machines take the names and addresses of the old ones."""
        return swaps(self.wanted, self.world)

    # Nodes

    def node_at(self, address: str) -> Node | None:
        """The platform's node at an address."""
        return next((n for n in self.world.nodes if n.spec.address == address), None)

    def node_of(self, spec: NodeSpec) -> Node | None:
        """The platform's node for a wanted one, in whatever state, if it is the right one."""
        node = self.node_at(spec.address)
        same = node is not None and identity(node.spec) == identity(spec)
        return node if same and not self.wanted.condemns(node) else None

    def facts_of(self, spec: NodeSpec) -> FrontEndFacts | None:
        """What was seen over ssh of a wanted node."""
        member = self.member_of(spec)
        return member.facts if member is not None else self.world.node_facts.get(spec.name)

    def is_up(self, spec: NodeSpec) -> bool:
        """The node runs and answers over ssh."""
        node = self.node_of(spec)
        running = node is not None and node.state is NodeState.RUNNING
        return running and self.facts_of(spec) is not None

    @cached_property
    def _nodes_by_name(self) -> list[Node]:
        return sorted(self.world.nodes, key=lambda n: n.spec.name)

    @cached_property
    def leftovers(self) -> tuple[Node, ...]:
        """Nodes that are neither wanted nor members nor kept, by name."""
        wanted = {identity(spec) for spec in self.targets}
        held = {m.server.address for m in self.world.members} | self.kept_addresses
        outside = (n for n in self._nodes_by_name if n.spec.address not in held)
        condemns = self.wanted.condemns
        return tuple(n for n in outside if identity(n.spec) not in wanted or condemns(n))

    @cached_property
    def blocking(self) -> tuple[Node, ...]:
        """Leftovers that have the name or the address of a wanted node."""
        names = {s.name for s in self.targets}
        addresses = {s.address for s in self.targets}
        return tuple(
            n for n in self.leftovers if n.spec.name in names or n.spec.address in addresses
        )

    # Members

    def member_of(self, spec: NodeSpec) -> Member | None:
        """The member at a wanted node's address."""
        return next((m for m in self.world.members if m.server.address == spec.address), None)

    def target_of(self, member: Member) -> NodeSpec | None:
        """The wanted node that a member runs on, ``None`` for an old member."""
        return self._present.get(member.server.address)

    def place_of(self, member: Member) -> NodeSpec | None:
        """The wanted node at a member's address, whatever machine is there."""
        return next((s for s in self.targets if s.address == member.server.address), None)

    @cached_property
    def _present(self) -> dict[str, NodeSpec]:
        """Wanted nodes that the platform has, in whatever state, by address."""
        return {spec.address: spec for spec in self.targets if self.node_of(spec) is not None}

    @cached_property
    def new(self) -> tuple[Member, ...]:
        """Members of the new generation, by server id: the first has joined first."""
        return tuple(m for m in self._by_id if self.target_of(m) is not None)

    @cached_property
    def old(self) -> tuple[Member, ...]:
        """All other members, by server id."""
        return tuple(m for m in self._by_id if self.target_of(m) is None)

    @cached_property
    def _by_id(self) -> tuple[Member, ...]:
        return tuple(sorted(self.world.members, key=lambda m: m.server.id))

    @cached_property
    def waiting(self) -> tuple[NodeSpec, ...]:
        """Wanted nodes that are not members yet, in the order in which they join."""
        return tuple(s for s in self.targets if self.member_of(s) is None)

    @cached_property
    def complete(self) -> bool:
        """Every wanted node is a member and counts."""
        return len(self.new) == self.wanted.size and all(self.counts(m) for m in self.new)

    @cached_property
    def leader(self) -> Member | None:
        """The one member that leads."""
        return self.world.leader

    @cached_property
    def old_leads(self) -> bool:
        """The hand-over is still to come."""
        leader = self.leader
        return leader is not None and self.target_of(leader) is None

    @cached_property
    def successor(self) -> Member | None:
        """The new member to hand over to: the first that joined, which all later ones know."""
        return self.new[0] if self.new else None

    def caught_up(self, member: Member) -> bool:
        """Seen healthy, and not further behind the leader than the limit."""
        if member.health is not Health.HEALTHY or member.raft is None:
            return False
        if member.is_leader:
            return True
        near = member.lag is not None and member.lag <= self.wanted.limits.max_lag_records
        return near and member.raft.state is RaftState.FOLLOWER

    def counts(self, member: Member) -> bool:
        """It can be relied on for a quorum.

        Between the end of the old leader and the next election nobody can be caught up with
        anybody; there, the members that answer count.
        """
        if self.handing_over is None:
            return self.caught_up(member)
        return answers(member)

    @cached_property
    def down(self) -> tuple[Member, ...]:
        """Members that do not count, by server id."""
        return tuple(m for m in self._by_id if not self.counts(m))

    @cached_property
    def quorum(self) -> Quorum:
        """The zone in numbers. Every listed server is a voter."""
        members = self.world.members
        return Quorum(len(members), sum(1 for m in members if self.counts(m)))

    # Another schema, and the generation that a cut-over leaves

    @cached_property
    def schema(self) -> Schema | None:
        """Of the zone's databases: the leader's; while there is none, any member's."""
        return schema_of(self.world)

    @cached_property
    def changes_schema(self) -> bool:
        """The wanted image starts on another schema than the zone's: it cannot be rolled."""
        required = self.wanted.image.schema
        return required != UNKNOWN_SCHEMA and self.schema not in (None, required)

    @cached_property
    def way(self) -> CutWay:
        """How a change of the schema is carried out: held if that is asked for, or was proven."""
        cut = self.wanted.cut
        if cut.way != "auto":
            return cut.way
        proven = cut.rehearsal is not None and cut.rehearsal.ahead_proven
        return "stand-by" if proven else "plain"

    @cached_property
    def cutting(self) -> bool:
        """A cut-over was begun: the old servers are being stopped, or are."""
        prior = self.world.prior
        return prior is not None and prior.phase is PriorPhase.CUTTING

    @cached_property
    def kept_addresses(self) -> frozenset[str]:
        """Addresses of the generation that a cut-over left, and may be brought back."""
        prior = self.world.prior
        if prior is None or prior.phase is PriorPhase.FINAL:
            return frozenset()
        return frozenset(server.address for server in prior.zone.servers)

    @cached_property
    def kept(self) -> tuple[Node, ...]:
        """The platform's nodes of that generation, by name."""
        listed = {m.server.address for m in self.world.members}
        kept = self.kept_addresses - listed
        return tuple(node for node in self._nodes_by_name if node.spec.address in kept)

    @cached_property
    def growing(self) -> bool:
        """The zone came out of a cut-over as one server, and its second one is still to come.

        Of two voters both are needed, so that the quorum is away from the second one's listing
        to its start. That cannot be helped, whoever is healthy.
        """
        prior, members = self.world.prior, len(self.world.members)
        if prior is None or prior.phase is not PriorPhase.SERVED or self.old:
            return False
        return members == 1 < self.wanted.size or (members == GROWING_MEMBERS and bool(self.down))

    @cached_property
    def second(self) -> NodeSpec | None:
        """The node that joins a zone of one server next: it is started before it is listed."""
        alone = self.growing and len(self.world.members) == 1
        return next(iter(self.waiting), None) if alone else None

    @cached_property
    def awaited(self) -> Member | None:
        """The second server of a growing zone that nobody leads for want of its vote."""
        if not self.growing or len(self.new) < GROWING_MEMBERS or self.leader is not None:
            return None
        second = max(self.new, key=lambda m: (m.raft is None, m.server.id))
        return second if second.facts is not None else None

    # What an interrupted rollout leaves behind

    @cached_property
    def handing_over(self) -> Member | None:
        """The old leader, if it was cut off and nobody else leads yet.

        Exactly what :class:`~onebaton.plan.actions.HandOver` passes through: no leader; one
        old member, stopped and masked; every wanted node a member that answers.
        """
        if any(m.is_leader for m in self.world.members) or len(self.old) != 1:
            return None
        old = self.old[0]
        others = [m for m in self.world.members if m is not old]
        size = self.wanted.size - (self.wanted.condemned is not None or self.swaps)
        complete = len(self.new) == size and all(answers(m) for m in others)
        return old if complete and put_away(old) else None

    @cached_property
    def interrupted(self) -> Member | None:
        """The one member that may be down because a step of ours was interrupted.

        A rollout never has more than one member down, and only these kinds:

        * a new one, in the middle of its join or restart, or whose machine vanished;
        * an old one, stopped and masked, when the plan had come to retire old ones.
        """
        if self.exchanged:
            return self.exchanged[0]
        if len(self.down) != 1 or self.changes_schema:
            return None
        member = self.down[0]
        spec = self.target_of(member)
        if self.wanted.condemns(member.node, member.server.address):
            return member
        if parked(member):
            return None
        if spec is not None:
            node = self.node_of(spec)
            vanished = node is not None and node.state is NodeState.VANISHED
            return member if vanished or member.facts is not None else None
        return member if put_away(member) and (self.complete or self.crowded) else None

    @cached_property
    def exchanged(self) -> tuple[Member, ...]:
        """Members that are down and that a swap brings back, by server id.

        More than one if a machine vanished while another one was being exchanged.
        """
        here = (m for m in self.down if self.swaps and self.place_of(m) and not parked(m))
        return tuple(m for m in here if half_swapped(self.wanted, m))

    @cached_property
    def crowded(self) -> bool:
        """One by one, and there are more members than wanted: an old one goes before a join."""
        return self.wanted.strategy == "one-by-one" and len(self.world.members) > self.wanted.size

    # Seeds

    @cached_property
    def source(self) -> Member | None:
        """Where databases are copied from: a follower; the leader if there is no follower.

        The first of the old ones: they are known to serve, and the new ones are spared.
        """
        level = (m for m in (*self.old, *self.new) if self.caught_up(m) and m.facts is not None)
        able = [m for m in level if not diverged(m)]
        followers = [m for m in able if not m.is_leader]
        return next(iter([*followers, *able]), None)

    @cached_property
    def log_window(self) -> float | None:
        """How many records a seed may be behind; ``None`` if the zone's settings are unknown."""
        settings = self.world.settings
        if settings is None:
            return None
        return self.wanted.limits.log_window_share * settings.log_retention

    def in_window(self, position: LogPosition | None) -> bool:
        """The leader still holds every record that a database lacks, with room to spare.

        No log brings one level that passed over a record: what took its place is not known.
        """
        leader = self.leader
        if position is None or leader is None or leader.raft is None:
            return False
        if position.passed_over is not None:
            return False
        behind = leader.raft.log_index - position.last_applied
        return self.log_window is None or behind < self.log_window

    def is_seeded(self, spec: NodeSpec) -> bool:
        """A node's database and secrets can be gone on with, judged by content."""
        facts, source = self.facts_of(spec), self.source
        if facts is None or source is None or source.facts is None:
            return False
        if facts.ahead is not None and self.member_of(spec) is None:
            return self.changes_schema and self._is_warm(facts)
        same_secrets = (
            facts.secret_digest is not None and facts.secret_digest == source.facts.secret_digest
        )
        same_schema = facts.schema == source.facts.schema
        return same_secrets and same_schema and self._is_good(facts.database)

    def _is_good(self, position: LogPosition | None) -> bool:
        """In the log's window, and complete up to the cut-over that brought the schema about.

        Records from before it speak the old schema and must not be replayed on the new one.
        """
        prior = self.world.prior
        cut_index = prior.cut_index if prior is not None and not self.cutting else None
        whole = cut_index is None or (position is not None and position.last_applied >= cut_index)
        return whole and self.in_window(position)

    def _is_warm(self, facts: FrontEndFacts) -> bool:
        """It holds a copy of the old schema that the log can be shipped to.

        Its secrets are not compared: some migrators write files beside them (source note).
        """
        if self.way == "plain" or facts.ahead is None or stage_of(facts) is AheadStage.RELEASED:
            return False
        return self._is_good(facts.ahead.warm)

    def is_prepared(self, spec: NodeSpec) -> bool:
        """It holds a copy migrated ahead that follows the zone."""
        facts = self.facts_of(spec)
        stages = (AheadStage.MIGRATED, AheadStage.HELD)
        migrated = facts is not None and stage_of(facts) in stages
        fits = facts is not None and facts.schema == self.wanted.image.schema
        return migrated and fits and self.is_seeded(spec)

    def is_held(self, spec: NodeSpec) -> bool:
        """The next release runs on its migrated copy, and can win no election."""
        facts = self.facts_of(spec)
        held = facts is not None and facts.oned_active and stage_of(facts) is AheadStage.HELD
        return held and self.is_prepared(spec)
