"""From what a plan says to what carries it out."""

from dataclasses import dataclass
from typing import assert_never

from onebaton.errors import RefusedError
from onebaton.model import Health, Host, Secret, Server, World, machine_of
from onebaton.plan.actions import (
    Action,
    CutOver,
    Destroy,
    Fence,
    Found,
    GiveUp,
    HandOver,
    Hold,
    Join,
    Park,
    Prepare,
    Provision,
    Refresh,
    Reinstate,
    Restore,
    Retire,
    Seed,
    Swap,
    Unpark,
)
from onebaton.steps.cutover import CutOverStep
from onebaton.steps.destroy import DestroyStep
from onebaton.steps.fence import FenceStep
from onebaton.steps.found import FoundStep
from onebaton.steps.generation import old_generation, prior_of, server_to_be
from onebaton.steps.giveup import GiveUpStep
from onebaton.steps.handover import HandOverStep
from onebaton.steps.hold import HoldStep
from onebaton.steps.join import JoinStep
from onebaton.steps.park import ParkStep, UnparkStep
from onebaton.steps.prepare import PrepareStep
from onebaton.steps.provision import ProvisionStep
from onebaton.steps.refresh import RefreshStep
from onebaton.steps.reinstate import ReinstateStep
from onebaton.steps.restore import RestoreStep
from onebaton.steps.retire import RetireStep
from onebaton.steps.seed import SeedStep
from onebaton.steps.seeing import server_of
from onebaton.steps.site import Site
from onebaton.steps.step import Step
from onebaton.steps.swap import SwapStep


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds the steps of one run.

    :param credentials: user and password that a new zone is founded with.
    :param steered_timeout_ms: election timeout of the node that leadership is steered to.
    """

    site: Site
    credentials: tuple[str, Secret]
    steered_timeout_ms: int

    def build(  # noqa: PLR0911 - one return an action
        self, action: Action, world: World | None
    ) -> Step:
        """The step for an action, as the world is now.

        :param world: ``None`` while there is no zone yet.
        :raises RefusedError: if a machine that the action names is not there.
        """
        site = self.site
        match action:
            case Provision():
                return ProvisionStep(action.id, site, action.nodes)
            case Found():
                host = self._host(action.node, world)
                return FoundStep(action.id, site, host, action.server_endpoint, self.credentials)
            case Destroy():
                hosts = tuple(self._host(name, world) for name in action.names)
                return DestroyStep(action.id, site, hosts)
            case Seed():
                targets = tuple(self._host(name, world) for name in action.targets)
                return SeedStep(action.id, site, self._host(action.source, world), targets)
        if world is None:
            raise RefusedError(f"the step {action.id} needs a zone, and there is none")
        match action:
            # The two that may begin without a leader: a killed run cut the old one off
            # already, or left a zone of two with one of them not started yet.
            case HandOver():
                new = server_of(world, action.to_server)
                ends = (action.from_server, new)
                return HandOverStep(
                    action.id,
                    site,
                    action.from_server,
                    self._host_of(action.from_server, world),
                    new,
                    self._host_of(new, world),
                    tuple(m.host for m in world.members if m.server not in ends),
                )
            case Join():
                return self._join(action, world)
            case Prepare():
                targets = tuple(self._host(name, world) for name in action.targets)
                return PrepareStep(action.id, site, self._host(action.source, world), targets)
            case Hold():
                return self._hold(action, world)
            case CutOver():
                return self._cut_over(action, world)
            case Reinstate():
                return self._reinstate(action, world)
            case GiveUp():
                return self._give_up(action, world)
        return self._with_leader(action, world)

    def _hold(self, action: Hold, world: World) -> HoldStep:
        host = self._host(action.node, world)
        return HoldStep(
            action.id,
            self.site,
            host,
            self._host(action.source, world),
            server_to_be(self.site, host, world.zone),
            (*(server.address for server in world.zone.servers), self.site.vip.address),
            self.steered_timeout_ms,
        )

    def _cut_over(self, action: CutOver, world: World) -> CutOverStep:
        host = self._host(action.node, world)
        prior = prior_of(world, action)
        return CutOverStep(
            action.id,
            self.site,
            action.way,
            host,
            server_to_be(self.site, host, prior.zone),
            prior,
            old_generation(prior.zone.servers, world),
            tuple(self._host(name, world) for name in action.others),
            self.steered_timeout_ms,
        )

    def _reinstate(self, action: Reinstate, world: World) -> ReinstateStep:
        prior = world.prior
        if prior is None:
            raise RefusedError("there is no cut-over to take back")
        new = tuple(self._host(name, world) for name in action.stop)
        leading = {member.host.name for member in world.members if member.is_leader}
        lead = tuple(host for host in new if host.name in {prior.node, *leading})
        old = old_generation(action.servers, world)
        return ReinstateStep(action.id, self.site, new, lead, old, prior.leader_id)

    def _give_up(self, action: GiveUp, world: World) -> GiveUpStep:
        old = tuple(machine_of(server, world.nodes) for server in action.servers)
        new = tuple(member.host for member in world.members if member.host not in old)
        return GiveUpStep(action.id, self.site, old, new)

    def _join(self, action: Join, world: World) -> JoinStep:
        listed = {member.host.name: member.server for member in world.members}
        leader = world.leader
        return JoinStep(
            action.id,
            self.site,
            self._host(action.node, world),
            leader.server if leader is not None else None,
            leader.host if leader is not None else None,
            self._host(action.source, world),
            listed.get(action.node),
            self._timeout_ms(steered=action.steered),
            tuple(
                (member.host, member.facts.known_servers)
                for member in world.members
                if member.facts is not None and member.host.name != action.node
            ),
        )

    def _with_leader(  # noqa: PLR0911 - one return an action
        self, action: Refresh | Retire | Fence | Park | Unpark | Swap | Restore, world: World
    ) -> Step:
        site = self.site
        leader = _leader(world)
        match action:
            case Refresh():
                return RefreshStep(
                    action.id,
                    site,
                    self._host(action.node, world),
                    server_of(world, action.node),
                    leader,
                    self._other(action.node, world),
                    self._timeout_ms(steered=action.steered),
                )
            case Retire():
                host = self._host_of(action.server, world)
                return RetireStep(action.id, site, host, action.server, leader)
            case Park():
                host = self._host_of(action.server, world)
                return ParkStep(action.id, site, host, action.server, leader)
            case Unpark():
                host = self._host_of(action.server, world)
                return UnparkStep(
                    action.id,
                    site,
                    host,
                    action.server,
                    leader,
                    self._host_of(leader, world),
                    self._host(action.source, world),
                    is_ours=any(node.host == host for node in world.nodes),
                )
            case Swap():
                host = self._host_of(action.server, world)
                seen = {m.host for m in world.members if m.facts is not None}
                return SwapStep(
                    action.id, site, host, action.server, leader, action.node, host in seen
                )
            case Fence():
                return FenceStep(action.id, site, action.node, action.server, leader)
            case Restore():
                host = self._host(action.node, world)
                return RestoreStep(action.id, site, host, server_of(world, action.node))
        assert_never(action)

    def _other(self, name: str, world: World) -> Host:
        """A healthy follower to copy from, or else the leader."""
        others = [m for m in world.members if m.host.name != name and m.health is Health.HEALTHY]
        return min(others, key=lambda m: (m.is_leader, m.server.id)).host

    def _timeout_ms(self, *, steered: bool) -> int:
        return self.steered_timeout_ms if steered else self.site.oned.election_timeout_ms

    def _host(self, name: str, world: World | None) -> Host:
        nodes = world.nodes if world is not None else self.site.platform.nodes()
        hosts = {node.spec.name: node.host for node in nodes}
        if world is not None:
            hosts |= {member.host.name: member.host for member in world.members}
        if name not in hosts:
            raise RefusedError(f"there is no machine called {name}")
        return hosts[name]

    def _host_of(self, server: Server, world: World) -> Host:
        for member in world.members:
            if member.server == server:
                return member.host
        raise RefusedError(f"{server.name} (id {server.id}) is not in the zone")


def _leader(world: World) -> Server:
    """The server that leads; while none does (a hand-over under way) the plan names both ends."""
    leader = world.leader
    if leader is None:
        raise RefusedError(
            "the zone has no leader, or more than one",
            resolution="Look at it with 'onebaton status'.",
        )
    return leader.server
