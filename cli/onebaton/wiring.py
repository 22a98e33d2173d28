"""Puts adapters behind the ports and runs one use case: what each command calls.

Heavy libraries are imported where they are used, so that ``--help`` and a usage error cost
nothing.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from onebaton.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onebaton.bake.catalogue import Catalogue
    from onebaton.config import ClusterConfig
    from onebaton.model import Image, Secret, World
    from onebaton.plan.actions import Action, Plan
    from onebaton.plan.wanted import Wanted
    from onebaton.ports import FrontEnds, Platform, Reporter, Store, ZoneApi
    from onebaton.rollout.probe import Probe
    from onebaton.rollout.runner import Taken
    from onebaton.steps.site import Site
    from onebaton.views import GapRow, PlanView, ReportView, StatusView


W = TypeVar("W", bound="World | None")


@dataclass(frozen=True, slots=True)
class Options:
    """What every command is given.

    :param config: path of ``cluster.yaml``.
    :param version: overrides ``image.version``.
    :param state: overrides ``state``; relative to the working folder.
    :param break_lock: take the lock from whoever has it.
    """

    config: Path
    reporter: Reporter
    version: str | None = None
    state: str | None = None
    break_lock: bool = False

    def again(self, command: str) -> str:
        """The command line that goes on with this."""
        words = ["onebaton", command, "--config", str(self.config)]
        if self.version is not None:
            words += ["--version", self.version]
        if self.state is not None:
            words += ["--state", self.state]
        return shlex.join(words)


class SystemClock:
    """The port ``Clock`` on this machine's time."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; ^C ends it."""
        time.sleep(seconds)


class Cluster:
    """One cluster's configuration, with adapters behind its ports, made when first used."""

    def __init__(self, options: Options, closing: contextlib.ExitStack) -> None:
        from onebaton.adapters.configfile import load

        self.options = options
        self.clock = SystemClock()
        self.reporter = options.reporter
        self.config: ClusterConfig = load(
            options.config, version=options.version, state=options.state
        )
        self.state = Path(self.config.state)
        self._closing = closing

    @cached_property
    def store(self) -> Store:
        """Journal, lock and catalogue."""
        from onebaton.adapters.store import FolderStore

        return FolderStore(self.state)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The images that were baked."""
        from onebaton.bake.catalogue import Catalogue

        return Catalogue(self.store)

    @cached_property
    def password(self) -> Secret:
        """Of the user that talks to ``oned``."""
        from onebaton.adapters.secrets import resolve

        source = self.config.zone.credentials.password
        return resolve(source, key="zone.credentials.password", reporter=self.reporter)

    @cached_property
    def api(self) -> ZoneApi:
        """The zone's XML-RPC."""
        return self.bounded_api(5.0)

    def bounded_api(self, timeout_s: float, *, connect_timeout_s: float = 2.0) -> ZoneApi:
        """The same with another deadline for each call."""
        from onebaton.adapters.zone import OneZone, session_of

        session = session_of(self.config.zone.credentials.user, self.password)
        return OneZone(
            session,
            zone_id=self.config.zone.id,
            timeout_s=timeout_s,
            connect_timeout_s=min(connect_timeout_s, timeout_s),
        )

    @cached_property
    def platform(self) -> Platform:
        """Where nodes run."""
        from onebaton.adapters.podman import Podman
        from onebaton.adapters.podman_platform import PodmanPlatform

        key = self.config.ssh.key
        return PodmanPlatform(
            cluster=self.config.zone.name,
            network=self.config.network,
            settings=self.config.platform,
            state=self.state,
            authorized_key=key.with_name(f"{key.name}.pub").read_text().strip(),
            podman=Podman(self.state / "podman"),
            reporter=self.reporter,
            clock=self.clock,
        )

    @cached_property
    def frontends(self) -> FrontEnds:
        """The nodes over ssh."""
        from onebaton.adapters.frontends import SshFrontEnds
        from onebaton.adapters.nodeconfig import ZoneSettings
        from onebaton.adapters.secrets import resolve
        from onebaton.adapters.ssh import Ssh
        from onebaton.adapters.templates import Templates

        config = self.config
        source = config.database.password
        ssh = self._closing.enter_context(Ssh(config.ssh, known_hosts=self.state / "known_hosts"))
        return SshFrontEnds(
            ssh,
            zone=ZoneSettings(config.zone.id, config.zone.vip.to_model(), config.zone.port),
            database=config.database,
            oned=config.oned,
            password=(
                resolve(source, key="database.password", reporter=self.reporter)
                if source is not None
                else None
            ),
            render=Templates().render,
            reporter=self.reporter,
            clock=self.clock,
        )

    @cached_property
    def image(self) -> Image:
        """The newest baked image of the configured version.

        :raises RefusedError: if there is none.
        """
        version = self.config.image.version
        for image in self.catalogue.find(version):
            if image.platform == self.platform.kind and self.platform.image_present(image):
                return image
        raise RefusedError(
            f"no image of OpenNebula {version} was baked",
            resolution=f"Bake it: {self.options.again('bake')}",
        )

    @cached_property
    def wanted(self) -> Wanted:
        """What the planner is to reach."""
        from onebaton.plan.wanted import Limits, Wanted

        config = self.config
        return Wanted(
            zone=config.zone.name,
            size=config.zone.size,
            strategy=config.rollout.strategy,
            image=self.image,
            slots={
                name: tuple(str(address) for address in addresses)
                for name, addresses in config.network.generations.items()
            },
            limits=Limits(
                max_lag_records=config.rollout.gates.max_lag_records,
                log_window_share=config.rollout.gates.log_window_share,
                expected_seed_s=config.rollout.gates.expected_seed_s,
                election_timeout_ms=config.oned.election_timeout_ms,
                steered_election_timeout_ms=config.rollout.steered_election_timeout_ms,
            ),
            port=config.zone.port,
        )

    @cached_property
    def site(self) -> Site:
        """What the steps work with."""
        from onebaton.steps.site import Site

        config = self.config
        return Site(
            api=self.api,
            frontends=self.frontends,
            platform=self.platform,
            clock=self.clock,
            reporter=self.reporter,
            observe=self.observe,
            vip=config.zone.vip.to_model(),
            port=config.zone.port,
            oned=config.oned,
            timeouts=config.rollout.timeouts,
            gates=config.rollout.gates,
        )

    def endpoint(self, address: str) -> str:
        """XML-RPC endpoint of ``oned`` at an address."""
        return f"http://{address}:{self.config.zone.port}/RPC2"

    @property
    def vip_endpoint(self) -> str:
        """Where clients talk to the zone."""
        return self.endpoint(str(self.config.zone.vip.address.ip))

    def observe(self) -> World:
        """A fresh observation.

        :raises UnavailableError: if no server answers at any known address.
        """
        from onebaton.rollout.observe import observe

        addresses = [str(a) for group in self.config.network.generations.values() for a in group]
        return observe(
            self.api,
            self.frontends,
            self.platform,
            endpoints=[self.vip_endpoint, *map(self.endpoint, addresses)],
            max_lag_records=self.config.rollout.gates.max_lag_records,
            clock=self.clock,
        )

    def observe_any(self) -> World | None:
        """A fresh observation; ``None`` if no server answers anywhere."""
        with contextlib.suppress(UnavailableError):
            return self.observe()
        return None


@contextlib.contextmanager
def _opened(options: Options) -> Iterator[Cluster]:
    with contextlib.ExitStack() as closing:
        yield Cluster(options, closing)


@contextlib.contextmanager
def _locked(cluster: Cluster, command: str) -> Iterator[None]:
    from onebaton.rollout import lock

    with lock.held(
        cluster.store,
        cluster.clock,
        cluster.reporter,
        cluster.options.again(command),
        break_lock=cluster.options.break_lock,
    ):
        yield


def bake(options: Options, *, force: bool) -> tuple[Image, bool]:
    """Bake the configured image, unless the same recipe was baked before.

    :returns: the image, and whether it was baked now.
    """
    from onebaton.adapters.image_builder import PackerBuilder
    from onebaton.adapters.podman import Podman
    from onebaton.bake.oven import Oven

    with _opened(options) as cluster, _locked(cluster, "bake"):
        builder = PackerBuilder(
            cluster.config.image,
            Podman(cluster.state / "podman"),
            cluster.state / "bake",
            cluster.reporter,
            cluster.clock,
        )
        oven = Oven(builder, cluster.platform, cluster.catalogue, cluster.reporter)
        baked = oven.bake(force=force)
        return baked.image, baked.fresh


def images(options: Options) -> tuple[Image, ...]:
    """The catalogue, oldest first."""
    with _opened(options) as cluster:
        return cluster.catalogue.list()


def bootstrap(options: Options) -> ReportView:
    """Found a new zone of the configured size."""
    from onebaton.plan.bootstrap import plan_bootstrap

    def decide(world: World | None) -> Plan:
        nodes = cluster.platform.nodes()
        if world is not None:
            return plan_bootstrap(cluster.wanted, nodes, world.node_facts, world)
        facts = cluster.frontends.facts_of([node.host for node in nodes])
        seen = {name: fact for name, fact in facts.items() if not isinstance(fact, str)}
        return plan_bootstrap(cluster.wanted, nodes, seen, None)

    with _opened(options) as cluster:
        cluster.platform.check()
        with _locked(cluster, "bootstrap"):
            taken = _carry_out(cluster, "bootstrap", cluster.observe_any, decide)
        return _report(
            f"zone {cluster.config.zone.name} founded on OpenNebula {cluster.image.version}", taken
        )


def plan(options: Options) -> PlanView:
    """What a rollout would do now; empty steps if nothing."""
    from onebaton.plan.describe import describe_roll
    from onebaton.plan.roll import plan_roll

    with _opened(options) as cluster:
        cluster.platform.check()
        world = cluster.observe()
        return describe_roll(cluster.wanted, world, plan_roll(cluster.wanted, world))


def rollout(options: Options) -> ReportView:
    """Bring the zone onto the configured image, step by step."""
    from onebaton.plan.roll import plan_roll

    with _opened(options) as cluster:
        cluster.platform.check()
        wanted = cluster.wanted
        with _locked(cluster, "rollout"):
            # Refused before the probe writes anything, if it is to be refused.
            plan_roll(wanted, cluster.observe())
            with _probing(cluster) as watch:
                taken = _carry_out(
                    cluster,
                    "rollout",
                    cluster.observe,
                    lambda world: plan_roll(wanted, world),
                    seen=watch.seen,
                    before=watch.before,
                )
                gaps = watch.gaps()
        title = f"zone {cluster.config.zone.name} rolled to OpenNebula {wanted.image.version}"
        return _report(title, taken, gaps)


def status(options: Options) -> StatusView:
    """The zone and the nodes as they are."""
    from onebaton.rollout.reporting import status_view

    with _opened(options) as cluster:
        world = cluster.observe()
        return status_view(world, cluster.config.zone.vip.to_model(), cluster.clock.now())


def destroy_preview(options: Options) -> tuple[str, ...]:
    """Names of the nodes that :func:`destroy` would destroy."""
    with _opened(options) as cluster:
        cluster.platform.check()
        return tuple(node.spec.name for node in cluster.platform.nodes())


def destroy(options: Options) -> tuple[str, ...]:
    """Destroy all nodes of the cluster.

    :returns: names of the nodes destroyed.
    """
    with _opened(options) as cluster:
        cluster.platform.check()
        with _locked(cluster, "destroy"):
            names = tuple(node.spec.name for node in cluster.platform.nodes())
            cluster.platform.apply([])
            return names


def _carry_out(
    cluster: Cluster,
    command: str,
    observe: Callable[[], W],
    decide: Callable[[W], Plan],
    *,
    seen: Callable[[W], None] = lambda _world: None,
    before: Callable[[Action], None] = lambda _action: None,
) -> tuple[Taken, ...]:
    from datetime import UTC, datetime

    from onebaton.rollout.interrupt import stop_on_signals
    from onebaton.rollout.journal import Journal
    from onebaton.rollout.runner import Runner
    from onebaton.steps.build import Builder

    moment = datetime.fromtimestamp(cluster.clock.now(), UTC).strftime("%Y%m%dT%H%M%S")
    builder = Builder(
        cluster.site,
        (cluster.config.zone.credentials.user, cluster.password),
        cluster.config.rollout.steered_election_timeout_ms,
    )
    with stop_on_signals(cluster.reporter) as stop:
        return Runner(
            observe=observe,
            decide=decide,
            build=builder.build,
            clock=cluster.clock,
            reporter=cluster.reporter,
            journal=Journal(cluster.store, cluster.clock, f"{moment}-{command}"),
            stop=stop,
            hand_back=cluster.options.again(command),
        ).run(seen=seen, before=before)


class _Unwatched:
    """No probe: the same calls, and no gaps."""

    def seen(self, world: World) -> None:
        """Nobody looks."""

    def before(self, action: Action) -> None:
        """Nobody looks away."""

    def gaps(self) -> Sequence[GapRow]:
        """None were seen."""
        return ()


class _Watched(_Unwatched):
    """A probe that follows the zone's members through a rollout."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def seen(self, world: World) -> None:
        """Probe these members, whether they answer or not."""
        self._probe.follow({m.server.name: m.server.endpoint for m in world.members})

    def before(self, action: Action) -> None:
        """What is about to be stopped for good is not a gap of the zone."""
        from onebaton.plan.actions import HandOver, Retire

        match action:
            case Retire(server=server) | HandOver(from_server=server):
                self._probe.remove(server.name)

    def gaps(self) -> Sequence[GapRow]:
        """End the probe; the longest gaps it saw."""
        return self._probe.stop().rows()


@contextlib.contextmanager
def _probing(cluster: Cluster) -> Iterator[_Unwatched]:
    """Probe the zone while the block runs."""
    from onebaton.rollout.probe import Probe

    settings = cluster.config.rollout.probe
    if not settings.enabled:
        yield _Unwatched()
        return
    probe = Probe(
        # An address that nobody holds for a moment does not refuse; do not wait for it long.
        cluster.bounded_api(settings.timeout_s, connect_timeout_s=0.5),
        cluster.clock,
        vip_endpoint=cluster.vip_endpoint,
        rate_hz=settings.rate_hz,
        member_write_rate_hz=settings.member_write_rate_hz,
        timeout_s=settings.timeout_s,
    )
    probe.start()
    try:
        yield _Watched(probe)
    finally:
        probe.stop()


def _report(title: str, taken: Sequence[Taken], gaps: Sequence[GapRow] = ()) -> ReportView:
    from onebaton.rollout.reporting import report_view

    notes = () if taken else ("nothing was to be done",)
    return report_view(title, taken, gaps, notes)
