"""One cluster: its configuration, with adapters behind the ports.

Heavy libraries are imported where they are used, so that ``--help`` and a usage error cost
nothing.
"""

from __future__ import annotations

import contextlib
import time
from functools import cached_property
from typing import TYPE_CHECKING

from onebaton.errors import RefusedError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_ec2.client import EC2Client

    from onebaton.adapters.aws_images import AwsImages
    from onebaton.adapters.aws_session import Service
    from onebaton.adapters.seeding import Seeding
    from onebaton.adapters.ssh import Ssh
    from onebaton.bake.catalogue import Catalogue
    from onebaton.bake.standing import Standing
    from onebaton.config import AwsPlatform, ClusterConfig, SecretSource
    from onebaton.migration import Migrations
    from onebaton.model import Image, Secret, World
    from onebaton.plan.underway import Goal
    from onebaton.plan.wanted import Condemned, Wanted
    from onebaton.ports import Examiner, FrontEnds, Platform, Store, ZoneApi
    from onebaton.rollout.notes import Note
    from onebaton.rollout.stage_notes import Progress
    from onebaton.standby import PriorRecord, StandBy
    from onebaton.steps.site import Site
    from onebaton.wiring.options import Options

DAY_S = 86400.0


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
        from onebaton.adapters.secrets import keep_from_programs
        from onebaton.plan.cloning import CONFIG_FILE
        from onebaton.wiring.places import clone_folder

        self.options = options
        self.clock = SystemClock()
        self.reporter = options.reporter
        self.config: ClusterConfig = load(
            options.config, version=options.version, state=options.state
        )
        if options.clone is not None:
            own = clone_folder(self.config, options.clone) / CONFIG_FILE
            if not own.is_file():
                raise UsageError(
                    f"there is no clone {options.clone!r} here",
                    resolution="See which there are: onebaton clone list",
                )
            self.config = load(own, version=options.version)
        keep_from_programs(
            self.config.zone.credentials.password,
            self.config.database.password,
            self.config.notify.url,
        )
        #: Folder of what stays on this machine.
        self.local = self.config.local_folder
        self._closing = closing

    @cached_property
    def store(self) -> Store:
        """Journal, lock and reports; the image catalogue, unless this is a clone."""
        from onebaton.wiring.places import store_at

        return store_at(self.config.state, self.config.s3)

    @cached_property
    def images(self) -> Store:
        """Where the image catalogue is: a clone has that of its zone."""
        clone = self.config.clone
        if clone is None:
            return self.store
        from onebaton.wiring.places import store_at

        return store_at(clone.images, self.config.s3)

    def place(self, key: str) -> str:
        """Where people find what the store keeps under a key."""
        return f"{self.config.state}/{key}"

    @cached_property
    def priors(self) -> PriorRecord:
        """The record of the last cut-over."""
        from onebaton.rollout.priors import Priors

        return Priors(self.store)

    @cached_property
    def goals(self) -> Note[Goal]:
        """The note of a rollout that is under way."""
        from onebaton.rollout.notes import goals

        return goals(self.store)

    @cached_property
    def stage_progress(self) -> Note[Progress]:
        """The note of a rollout's stages."""
        from onebaton.rollout.stage_notes import progress_of

        return progress_of(self.store)

    @cached_property
    def condemned(self) -> Note[Condemned]:
        """The note of a machine that is being replaced."""
        from onebaton.rollout.notes import condemnations

        return condemnations(self.store)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The images that were baked."""
        from onebaton.bake.catalogue import Catalogue

        return Catalogue(self.images)

    @cached_property
    def standing(self) -> Standing:
        """How those images stand: channels, revocations."""
        from onebaton.bake.standing import Standing

        return Standing(self.images)

    @cached_property
    def revoked(self) -> Mapping[str, str]:
        """Why images must not be used any more, by digest."""
        return {digest: entry.reason for digest, entry in self.standing.revoked().items()}

    @cached_property
    def password(self) -> Secret:
        """Of the user that talks to ``oned``."""
        source = self.config.zone.credentials.password
        return self._secret(source, "zone.credentials.password")

    def _secret(self, source: SecretSource, key: str) -> Secret:
        from onebaton.adapters.secrets import resolve

        return resolve(source, key=key, reporter=self.reporter, aws=self.config.secrets)

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
        from onebaton.wiring.platforms import platform

        return platform(self)

    def ec2(self, settings: AwsPlatform) -> Service[EC2Client]:
        """EC2 in the region of the nodes."""
        from onebaton.adapters import aws_session

        return aws_session.ec2(
            region=settings.region,
            endpoint_url=settings.endpoint_url,
            timeout_s=settings.timeouts.call_s,
        )

    def amis(self, settings: AwsPlatform) -> AwsImages:
        """The cluster's AMIs."""
        from onebaton.adapters.aws_images import AwsImages

        return AwsImages(self.ec2(settings), cluster=self.config.zone.name)

    @cached_property
    def ssh(self) -> Ssh:
        """The way into the nodes."""
        from onebaton.adapters.ssh import Ssh

        known_hosts = self.local / "known_hosts"
        return self._closing.enter_context(Ssh(self.config.ssh, known_hosts=known_hosts))

    @cached_property
    def examiner(self) -> Examiner:
        """The nodes over ssh, as the doctor looks at them."""
        from onebaton.adapters.examination import SshExaminer

        return SshExaminer(
            self.ssh,
            vip=self.config.zone.vip.to_model(),
            database=self.config.database.name,
            port=self.config.zone.port,
            clock=self.clock,
        )

    @cached_property
    def migrations(self) -> Migrations:
        """The next release at work on a copy, over ssh."""
        from onebaton.adapters.migrations import SshMigrations

        return SshMigrations(
            self.ssh,
            database=self.config.database,
            vip=str(self.config.zone.vip.address.ip),
            port=self.config.zone.port,
            ssh_port=self.config.ssh.port,
        )

    @cached_property
    def standby(self) -> StandBy:
        """Copies migrated ahead, and oned held on one of them, over ssh."""
        from onebaton.adapters.standby import SshStandBy
        from onebaton.adapters.zone import session_of

        return SshStandBy(
            self.ssh,
            database=self.config.database,
            vip=str(self.config.zone.vip.address.ip),
            port=self.config.zone.port,
            ssh_port=self.config.ssh.port,
            session=lambda: session_of(self.config.zone.credentials.user, self.password),
        )

    @cached_property
    def frontends(self) -> FrontEnds:
        """The nodes over ssh."""
        from onebaton.adapters.frontends import SshFrontEnds
        from onebaton.adapters.nodeconfig import ZoneSettings, hook_of
        from onebaton.adapters.templates import Templates

        config = self.config
        source = config.database.password
        return SshFrontEnds(
            self.ssh,
            zone=ZoneSettings(
                config.zone.id,
                config.zone.vip.to_model(),
                config.zone.port,
                hook_of(config.platform),
            ),
            database=config.database,
            oned=config.oned,
            password=self._secret(source, "database.password") if source is not None else None,
            render=Templates().render,
            seeding=self.seeding,
            reporter=self.reporter,
            clock=self.clock,
        )

    @cached_property
    def seeding(self) -> Seeding:
        """The way a database takes from one node to others."""
        if self.config.seed.via == "s3":
            from onebaton.adapters.s3seeds import S3Passage
            from onebaton.adapters.seedparts import SeedInParts

            passage = S3Passage(self.config.seed_place, self.config.s3)
            return SeedInParts(self.ssh, self.reporter, passage)
        from onebaton.adapters.dbdump import SeedByPipes

        return SeedByPipes(self.ssh, self.reporter)

    @cached_property
    def image(self) -> Image:
        """The image of the configured version that is to be taken.

        :raises RefusedError: if there is none.
        """
        from onebaton.wiring.choosing import chosen

        return chosen(self)

    @cached_property
    def wanted(self) -> Wanted:
        """What the planner is to reach."""
        return self._wanting(self.image)

    @property
    def wanted_or_unbaked(self) -> tuple[Wanted, bool]:
        """The same, also where the image is still to be baked; and whether it was baked."""
        from onebaton.wiring.choosing import unbaked

        with contextlib.suppress(RefusedError):
            return self.wanted, True
        return self._wanting(unbaked(self)), False

    def _wanting(self, image: Image) -> Wanted:
        from onebaton.plan.wanted import CutWish, Limits, Wanted
        from onebaton.rollout.rehearsals import newest

        config = self.config
        return Wanted(
            zone=config.zone.name,
            size=config.zone.size,
            strategy=config.rollout.strategy,
            image=image,
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
            cut=CutWish(
                way=self.options.cut or config.rollout.cut,
                max_outage_s=config.rollout.max_outage_s,
                rehearsal_max_age_s=config.rollout.rehearsal_max_age_days * DAY_S,
                rehearsal=newest(self.store, image, self.clock.now()),
                accepted=frozenset(self.options.accepted),
            ),
            revoked=self.revoked.get(image.digest, ""),
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
            observe=self.look,
            vip=config.zone.vip.to_model(),
            port=config.zone.port,
            oned=config.oned,
            timeouts=config.rollout.timeouts,
            gates=config.rollout.gates,
            standby=self.standby,
            priors=self.priors,
            max_outage_s=config.rollout.max_outage_s,
        )

    def require_no_clone(self, what: str) -> None:
        """See that this is a zone of its own.

        :param what: what a clone has no part in.
        :raises RefusedError: if it is a clone.
        """
        clone = self.config.clone
        if clone is not None:
            raise RefusedError(
                f"{self.config.zone.name} is a clone, and {what} are {clone.of}'s",
                resolution=f"Name the cluster.yaml of {clone.of} (--config).",
            )

    def endpoint(self, address: str) -> str:
        """XML-RPC endpoint of ``oned`` at an address."""
        return f"http://{address}:{self.config.zone.port}/RPC2"

    @property
    def vip_endpoint(self) -> str:
        """Where clients talk to the zone."""
        return self.endpoint(str(self.config.zone.vip.address.ip))

    @property
    def known_endpoints(self) -> tuple[str, ...]:
        """Where to ask for the zone: first the virtual IP, then the nodes' addresses, and last
        where its servers were when a rollout began that did not come to its end."""
        addresses = [str(a) for group in self.config.network.generations.values() for a in group]
        goal = self.goals.load()
        noted = goal.endpoints if goal is not None else ()
        return (self.vip_endpoint, *map(self.endpoint, addresses), *noted)

    def observe(self) -> World:
        """A fresh observation with the rate of records, which a plan's budget is made with.

        :raises UnavailableError: if no server answers at any known address.
        """
        return self._observe(rate_interval_s=0.5)

    def look(self) -> World:
        """A fresh observation without the rate of records, and without the wait for it.

        :raises UnavailableError: if no server answers at any known address.
        """
        return self._observe(rate_interval_s=0.0)

    def _observe(self, *, rate_interval_s: float) -> World:
        from onebaton.rollout.observe import observe

        return observe(
            self.api,
            self.frontends,
            self.platform,
            endpoints=self.known_endpoints,
            max_lag_records=self.config.rollout.gates.max_lag_records,
            clock=self.clock,
            rate_interval_s=rate_interval_s,
            prior=self.priors.load(),
        )

    def observe_any(self) -> World | None:
        """A fresh observation; ``None`` if no server answers anywhere."""
        with contextlib.suppress(UnavailableError):
            return self.observe()
        return None
