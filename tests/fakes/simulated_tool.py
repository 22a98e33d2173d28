"""The tool as a run of it is wired, on a simulated cluster."""

import concurrent.futures
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.fakes import simulated
from tests.fakes.reporter import ListReporter
from tests.fakes.simulated import (
    NORMAL_MS,
    PASSWORD,
    TRAFFIC,
    USER,
    VIP,
    SimulatedCluster,
)
from tests.fakes.staging import Staging
from tests.fakes.store import MemoryStore
from tests.fakes.worlds import ELSEWHERE, SLOTS, image
from tests.fakes.zone import endpoint

from onebaton.config import Gates, OnedConfig, Timeouts
from onebaton.errors import OnebatonError, UnavailableError
from onebaton.model import Image, Secret, Vip, World
from onebaton.plan.abort import plan_abort, plan_swap_back
from onebaton.plan.actions import Action, Plan
from onebaton.plan.bootstrap import plan_bootstrap
from onebaton.plan.parking import plan_park, plan_unpark
from onebaton.plan.replacing import plan_replace
from onebaton.plan.roll import plan_roll
from onebaton.plan.takeback import plan_finalize, plan_rollback
from onebaton.plan.wanted import Condemned, Wanted
from onebaton.rollout.boundaries import Boundaries, Run
from onebaton.rollout.interrupt import StopRequest
from onebaton.rollout.journal import Journal
from onebaton.rollout.observe import observe
from onebaton.rollout.runner import Runner, Taken, Verdict
from onebaton.rollout.stage_notes import progress_of
from onebaton.steps.build import Builder
from onebaton.steps.site import Site

OLD, NEW = image("6.10.0"), image("6.10.5")
#: What goes on with a run, with it to its end, and what approves.
AGAIN = ("onebaton rollout --until joined", "onebaton rollout", "onebaton continue")


class AtOnce(concurrent.futures.Executor):
    """Questions are answered in the order in which they are asked, and without threads."""

    def __init__(self, **_: object) -> None:
        """As a pool is made; there is nothing to make."""

    def submit(self, fn, /, *args, **kwargs):
        answer = concurrent.futures.Future()
        try:
            answer.set_result(fn(*args, **kwargs))
        except OnebatonError as error:
            answer.set_exception(error)
        return answer


@dataclass
class Tool:
    """One run of the tool, on whatever stands now.

    :ivar staging: how a roll is staged, if it is.
    :ivar between: what happened between its stages.
    """

    cluster: SimulatedCluster
    wanted: Wanted
    before: Callable[[Action], None] = lambda _action: None
    staging: Staging | None = None
    between: Boundaries | None = None

    def bootstrap(self) -> list[str]:
        """Found the zone; ids of the steps taken."""
        return self._run(self._observe_any, self._decide_bootstrap)

    def roll(self) -> list[str]:
        """Roll it; ids of the steps taken."""
        return self._run(self.observe, lambda world: plan_roll(self.wanted, world))

    def rollback(self) -> list[str]:
        """Take a cut-over back; ids of the steps taken."""
        return self._run(
            self.observe, lambda world: plan_rollback(world) if world.prior else Plan()
        )

    def finalize(self) -> list[str]:
        """Make a cut-over final; ids of the steps taken."""
        return self._run(self.observe, lambda world: plan_finalize(world, self.wanted.size))

    def abort(self) -> list[str]:
        """Go back to the generation that a roll began with; ids of the steps taken."""
        return self._run(self.observe, lambda world: plan_abort(self.wanted, world))

    def swap_back(self) -> list[str]:
        """Undo a swap, ``wanted`` being what it began with; ids of the steps taken."""
        return self._run(self.observe, lambda world: plan_swap_back(self.wanted, world))

    def park(self, node: str) -> list[str]:
        """Take a server out of service; ids of the steps taken."""
        return self._run(self.observe, lambda world: plan_park(self.wanted, world, node))

    def unpark(self, node: str) -> list[str]:
        """Bring it back; ids of the steps taken."""
        return self._run(self.observe, lambda world: plan_unpark(self.wanted, world, node))

    def replace(self, condemned: Condemned) -> list[str]:
        """Replace a machine by a new one; ids of the steps taken."""
        goal = replace(self.wanted, condemned=condemned)
        return self._run(self.observe, lambda world: plan_replace(goal, world))

    def observe(self) -> World:
        addresses = [address for slot in self.wanted.slots.values() for address in slot]
        return observe(
            self.cluster.api,
            self.cluster.frontends,
            self.cluster.platform,
            endpoints=[endpoint(a) for a in (VIP, *addresses)],
            max_lag_records=self.wanted.limits.max_lag_records,
            clock=self.cluster.clock,
            prior=self.cluster.priors.load(),
        )

    def _observe_any(self) -> World | None:
        try:
            return self.observe()
        except UnavailableError:
            return None

    def _decide_bootstrap(self, world: World | None) -> Plan:
        nodes = self.cluster.platform.nodes()
        if world is not None:
            return plan_bootstrap(self.wanted, nodes, world.node_facts, world)
        facts = self.cluster.frontends.facts_of([node.host for node in nodes])
        seen = {name: fact for name, fact in facts.items() if not isinstance(fact, str)}
        return plan_bootstrap(self.wanted, nodes, seen, None)

    def _run(self, look, decide) -> list[str]:
        cluster = self.cluster
        site = Site(
            api=cluster.api,
            frontends=cluster.frontends,
            platform=cluster.platform,
            clock=cluster.clock,
            reporter=ListReporter(),
            observe=self.observe,
            vip=Vip(VIP, 24, "eth0"),
            port=2633,
            oned=OnedConfig(),
            timeouts=Timeouts(),
            gates=Gates(),
            standby=cluster.standby,
            priors=cluster.priors,
            max_outage_s=self.wanted.cut.max_outage_s,
        )
        runner = Runner(
            observe=look,
            decide=decide,
            build=Builder(site, (USER, Secret(PASSWORD)), 1000).build,
            clock=cluster.clock,
            reporter=site.reporter,
            journal=Journal(MemoryStore(), cluster.clock, "run"),
            stop=StopRequest(),
            hand_back="onebaton rollout",
        )
        reached = self._staged(site, runner) if self.staging is not None else _go_on
        taken: tuple[Taken, ...] = runner.run(before=self.before, reached=reached)
        return [step.step for step in taken]

    def _staged(self, site, runner) -> Callable[[World, Plan], Verdict]:
        staging = self.staging
        assert staging is not None
        image = self.wanted.image
        self.between = Boundaries(
            run=Run("run", "z", image.version, image.digest, *AGAIN, until=staging.until),
            settings=staging.settings,
            note=progress_of(staging.store),
            observe=self.observe,
            clock=site.clock,
            reporter=site.reporter,
            stop=runner.stop,
            hooks=staging.hooks,
            notifier=staging.notifier,
            before_stage=staging.before_stage,
        )
        return self.between.reached


def _go_on(_world: World, _plan: Plan) -> Verdict:
    return Verdict.GO


def running_zone(
    goal: Wanted,
    size: int | None = None,
    *,
    own: bool = True,
    leader: int = 0,
    made_by: Callable[[Sequence[Image]], SimulatedCluster] = SimulatedCluster,
) -> SimulatedCluster:
    """A zone of the old image, on the platform's nodes or on somebody else's machines."""
    size = size or goal.size
    specs = Wanted("z", size, goal.strategy, OLD, SLOTS, goal.limits).specs("a") if own else ()
    names = [spec.name for spec in specs] or [f"one-{i + 1}" for i in range(size)]
    addresses = [spec.address for spec in specs] or list(ELSEWHERE[:size])
    cluster = simulated.zone(
        [OLD, NEW],
        size,
        addresses=addresses,
        names=names,
        specs=specs,
        leader=leader,
        made_by=made_by,
    )
    cluster.swaps = goal.strategy == "swap"
    return cluster


def assert_rolled(cluster: SimulatedCluster, goal: Wanted) -> None:
    """The zone is the wanted generation and nothing else, and has every acknowledged write."""
    cluster.clock.sleep(1.0)
    cluster.traffic = False
    cluster.clock.sleep(2.0)
    nodes = cluster.platform.nodes()
    assert {n.spec.image_digest for n in nodes} == {goal.image.digest}
    assert len(nodes) == goal.size
    names = {n.spec.name for n in nodes}
    servers = cluster.servers
    assert {s.name for s in servers.values()} == names
    assert set(cluster.raft.oneds) == names
    leader = cluster.leader
    assert leader is not None
    assert [n for n, m in cluster.machines.items() if m.holds_vip] == [leader.machine]
    assert not cluster.late()
    assert len(set(cluster.acknowledged)) == len(cluster.acknowledged)
    for name in names:
        machine = cluster.machines[name]
        assert machine.database is not None
        assert set(cluster.acknowledged) <= machine.database.tables[TRAFFIC].keys()
        assert machine.database.checksums() == leader.database.checksums()
        assert machine.election_timeout_ms == NORMAL_MS
        # What each one knows in truth, whatever was written down about it.
        known = cluster.raft.oneds[name].servers.get(leader.server_id)
        assert known == servers[leader.server_id], name
