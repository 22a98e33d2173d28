"""From what a plan says to what carries it out."""

from dataclasses import dataclass
from typing import assert_never

from onebaton.errors import RefusedError
from onebaton.model import Health, Host, Secret, Server, World
from onebaton.plan.actions import (
    Action,
    Destroy,
    Found,
    HandOver,
    Join,
    Provision,
    Refresh,
    Restore,
    Retire,
    Seed,
)
from onebaton.steps.destroy import DestroyStep
from onebaton.steps.found import FoundStep
from onebaton.steps.handover import HandOverStep
from onebaton.steps.join import JoinStep
from onebaton.steps.provision import ProvisionStep
from onebaton.steps.refresh import RefreshStep
from onebaton.steps.restore import RestoreStep
from onebaton.steps.retire import RetireStep
from onebaton.steps.seed import SeedStep
from onebaton.steps.seeing import server_of
from onebaton.steps.site import Site
from onebaton.steps.step import Step


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
        return self._with_leader(action, world)

    def _join(self, action: Join, world: World) -> JoinStep:
        listed = {member.host.name: member.server for member in world.members}
        leader = world.leader
        return JoinStep(
            action.id,
            self.site,
            self._host(action.node, world),
            leader.server if leader is not None else None,
            self._host(action.source, world),
            listed.get(action.node),
            self._timeout_ms(steered=action.steered),
        )

    def _with_leader(self, action: Refresh | Retire | Restore, world: World) -> Step:
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
