"""What a cut-over does in the small model of a zone, step by step, and what it must never do.

Each step may be the last before a crash, and finds what an earlier run of it has done.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.fakes.machine import Machine, insist
from tests.fakes.wanting import STEERED_MS

from onebaton.model import AheadStage, Prior, PriorPhase, Server, Zone
from onebaton.plan.actions import CutOver, Hold, Prepare, Reinstate

if TYPE_CHECKING:
    from tests.fakes.worlds import Lab

Steps = Sequence[Callable[[], None]]


def survive(lab: "Lab") -> None:
    """Object if two generations could both take writes, or the only copy of one is lost."""
    prior = lab.prior
    if prior is None or prior.phase is PriorPhase.FINAL:
        return
    old = [lab.machines[s.address] for s in prior.zone.servers if s.address in lab.machines]
    insist(len(old) == len(prior.zone.servers), "a machine of the old generation is gone")
    insist(
        not any(m.oned for m in old) or not serving(lab, prior),
        "servers of both generations run",
    )
    holders = [m.name for m in lab.machines.values() if m.vip]
    insist(len(holders) <= 1, f"{holders} hold the virtual IP")


def is_alone(lab: "Lab") -> bool:
    """The zone came out of a cut-over as one server, and nobody has joined it yet."""
    served = lab.prior is not None and lab.prior.phase is PriorPhase.SERVED
    return served and len(lab.servers) == 1


def serving(lab: "Lab", prior: Prior) -> list[str]:
    """New machines whose ``oned`` runs and can win an election."""
    old = {server.address for server in prior.zone.servers}
    return [
        machine.name
        for machine in lab.machines.values()
        if machine.address not in old and machine.oned and machine.stage is not AheadStage.HELD
    ]


def insist_whole(lab: "Lab", machine: Machine) -> None:
    """A copy joins only with every record from before the cut: those speak the old schema."""
    prior = lab.prior
    if prior is not None and prior.cut_index is not None and machine.index is not None:
        insist(machine.index >= prior.cut_index, f"{machine.name} lacks records of the old zone")


def insist_not_kept(lab: "Lab", machine: Machine) -> None:
    """The old generation is there until the cut-over is final."""
    prior = lab.prior
    if prior is not None and prior.phase is not PriorPhase.FINAL:
        kept = {server.address for server in prior.zone.servers}
        insist(machine.address not in kept, f"{machine.name} is kept, and destroyed")


def prepare(lab: "Lab", action: Prepare) -> Steps:
    """Set the seed aside, migrate a copy of it, follow."""

    def set_aside(machine: Machine) -> None:
        if machine.stage in (AheadStage.MIGRATED, AheadStage.HELD):
            return
        insist(not machine.oned, f"oned runs on {machine.name}")
        if machine.stage is None:
            insist(machine.index is not None, f"{machine.name} was not seeded")
            insist(machine.schema == _zone_schema(lab), f"{machine.name} holds another schema")
            machine.warm = machine.index
        machine.stage, machine.index, machine.schema = AheadStage.WARM, None, None

    def migrate(machine: Machine) -> None:
        if machine.stage is AheadStage.WARM:
            machine.stage, machine.schema = AheadStage.MIGRATED, lab.wanted.image.schema

    def follow(machine: Machine) -> None:
        machine.index = machine.warm = lab.named(action.source).index

    return [
        lambda part=part, name=name: part(lab.named(name))
        for name in action.targets
        for part in (set_aside, migrate, follow)
    ]


def hold(lab: "Lab", action: Hold) -> Steps:
    """Configure, then start where it can win nothing."""

    def configure() -> None:
        machine = lab.named(action.node)
        machine.server_id, machine.election_timeout_ms = _next_id(lab), STEERED_MS

    def start() -> None:
        machine = lab.named(action.node)
        insist(
            machine.stage in (AheadStage.MIGRATED, AheadStage.HELD),
            f"{machine.name} is not migrated ahead",
        )
        insist(machine.schema == lab.wanted.image.schema, f"{machine.name} cannot start")
        machine.oned, machine.masked, machine.stage = True, False, AheadStage.HELD

    return [configure, start]


def cut_over(lab: "Lab", action: CutOver) -> Steps:
    """Note it, freeze, prove, bring the last records, let lead, serve, complete."""
    new = lab.named(action.node)

    def note() -> None:
        prior = lab.prior
        if prior is not None and prior.phase is PriorPhase.CUTTING:
            return
        insist(prior is None or prior.phase is PriorPhase.FINAL, "a cut-over is not final yet")
        insist(lab.leader is not None, "nobody leads")
        lab.prior = Prior(
            zone=Zone(0, "OpenNebula", enabled=True, servers=tuple(sorted(lab.servers))),
            leader_id=lab.leader if lab.leader is not None else -1,
            node=action.node,
            schema=_zone_schema(lab),
            version="6.10.0",
            image_digest=lab.wanted.image.digest,
            way=action.way,
            phase=PriorPhase.CUTTING,
            began_at=100.0,
        )

    def freeze(server: Server) -> None:
        if lab.leader == server.id:
            lab.leader = None
        lab.machines[server.address].put_away()

    def prove() -> None:
        prior = _noted(lab)
        leader = next(s for s in prior.zone.servers if s.id == prior.leader_id)
        last = lab.machines[leader.address].index
        insist(released() or last == lab.index, "the old leader lacks an acknowledged record")
        lab.prior = replace(prior, cut_index=last)

    def released() -> bool:
        return any(s.name == action.node for s in lab.servers)

    def bring() -> None:
        if released():
            return
        if action.way == "stand-by":
            insist(new.stage is AheadStage.HELD and new.oned, f"{new.name} is not held")
            new.warm = new.index = _noted(lab).cut_index
            return
        insist(new.stage is None and not new.oned, f"{new.name} is migrated ahead")
        if new.schema == _noted(lab).schema:
            new.index = _noted(lab).cut_index

    def migrate() -> None:
        if action.way == "plain":
            new.schema = lab.wanted.image.schema

    def let_lead() -> None:
        if released():
            return
        prior = _noted(lab)
        for server in prior.zone.servers:
            old = lab.machines[server.address]
            insist(old.masked and not old.oned, f"{old.name} is not put away, and {new.name} leads")
        insist(new.index == lab.index, "an acknowledged write is missing")
        new.oned, new.masked, new.election_timeout_ms = True, False, STEERED_MS
        new.server_id = _next_id(lab)
        new.known = frozenset({new.server_id})
        if action.way == "stand-by":
            new.stage = AheadStage.RELEASED
        lab.servers = [Server(new.server_id, new.name, lab.wanted.endpoint(new.address))]
        lab.next_id = new.server_id + 1

    def lead() -> None:
        lab.leader, lab.term, new.vip = new.server_id, lab.term + 1, True

    def serve() -> None:
        lab.write(1)
        lab.prior = replace(_noted(lab), phase=PriorPhase.SERVED, served_at=102.5)

    def complete(name: str) -> None:
        machine = lab.named(name)
        if machine.stage is not None:
            machine.index, machine.stage, machine.warm = _noted(lab).cut_index, None, None

    def settle() -> None:
        new.stage = new.warm = None

    servers = lab.prior.zone.servers if _cutting(lab) else sorted(lab.servers)
    return [
        note,
        *(lambda server=server: freeze(server) for server in servers),
        prove,
        bring,
        migrate,
        let_lead,
        lead,
        serve,
        *(lambda name=name: complete(name) for name in action.others),
        settle,
    ]


def reinstate(lab: "Lab", action: Reinstate) -> Steps:
    """The new ones stop for good, then the old ones start; the record goes last."""

    def begin() -> None:
        prior = _noted(lab)
        lab.prior = replace(prior, phase=PriorPhase.CUTTING, served_at=prior.served_at or 200.0)

    def stop(name: str) -> None:
        machine = lab.named(name)
        if any(s.id == lab.leader and s.name == name for s in lab.servers):
            lab.leader = None
        machine.put_away()

    def start(server: Server) -> None:
        insist(not serving(lab, _noted(lab)), "the old generation starts while the new one runs")
        if lab.servers != list(action.servers):
            lab.servers = list(action.servers)
            lab.next_id = max(s.id for s in action.servers) + 1
        machine = lab.machines[server.address]
        machine.oned, machine.masked = True, False

    def elect() -> None:
        prior = _noted(lab)
        leader = next(s for s in prior.zone.servers if s.id == prior.leader_id)
        if lab.leader is None:
            lab.leader = leader.id
            lab.index = lab.machines[leader.address].index or 0
            lab.machines[leader.address].vip = True
        for server in action.servers:
            lab.machines[server.address].index = lab.index

    def discard(name: str) -> None:
        lab.named(name).empty()

    def forget() -> None:
        lab.prior = None

    return [
        begin,
        *(lambda name=name: stop(name) for name in action.stop),
        *(lambda server=server: start(server) for server in action.servers),
        elect,
        *(lambda name=name: discard(name) for name in action.stop),
        forget,
    ]


def give_up(lab: "Lab") -> None:
    """The old generation will not be brought back."""
    insist(lab.healthy == len(lab.servers), "the new zone is not healthy")
    lab.prior = replace(_noted(lab), phase=PriorPhase.FINAL)


def _noted(lab: "Lab") -> Prior:
    assert lab.prior is not None
    return lab.prior


def _cutting(lab: "Lab") -> bool:
    return lab.prior is not None and lab.prior.phase is PriorPhase.CUTTING


def _zone_schema(lab: "Lab") -> "object":
    leader = next(s for s in lab.servers if s.id == lab.leader)
    return lab.machines[leader.address].schema


def _next_id(lab: "Lab") -> int:
    servers = lab.prior.zone.servers if _cutting(lab) else lab.servers
    return max(server.id for server in servers) + 1
