"""A clone being made: what is noted, what is written, and the way up to its first start."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from onebaton.errors import OnebatonError, RefusedError, UnavailableError, UsageError
from onebaton.wiring.running import locked, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onebaton.cloning import Clone, CloneView
    from onebaton.config import ClonesConfig
    from onebaton.model import World
    from onebaton.rollout.cloning import Making, Origin
    from onebaton.wiring.cluster import Cluster

#: Bytes of a clone's password.
PASSWORD_BYTES = 24


@dataclass(frozen=True, slots=True)
class CloneWish:
    """What is asked of a clone; what is ``None`` is as configured, or as it was.

    :param dump: a file or ``s3://BUCKET/KEY`` that it is made from, instead of the living zone.
    """

    name: str
    size: int | None = None
    ttl: str | None = None
    dump: str | None = None


def make(
    production: Cluster, wish: CloneWish, known: Clone | None, *, anew: bool = False
) -> CloneView:
    from onebaton.cloning import ClonePhase
    from onebaton.rollout.cloning import noted
    from onebaton.wiring import bootstrap

    settings = _settings(production)
    production.platform.check()
    world = world_of(production, living=wish.dump is None)
    note = noted(production.store, wish.name)
    if known is None or known.phase is ClonePhase.MAKING or anew:
        known = _begun(production, settings, wish, known, world)
        _write_files(production, known)
        note.save(known)
    options = replace(production.options, clone=wish.name, version=None)
    with opened(options) as copy:
        copy.platform.check()
        making = making_of(production, copy, wish.name)
        with locked(copy, f"clone create {wish.name}"):
            known, changed = _up_to_proof(production, copy, making, known, world)
    bootstrap(options)
    with opened(options) as copy:
        known = replace(known, phase=ClonePhase.READY)
        note.save(known)
        making.watch.since(making.began, "made, from its beginning on")
        return view_of(copy, known, making, (), changed)


def _up_to_proof(
    production: Cluster, copy: Cluster, making: Making, clone: Clone, world: World | None
) -> tuple[Clone, tuple[tuple[str, int], ...]]:
    """Everything before the first start.

    :returns: the clone as it is then, and rows changed by table.
    """
    from onebaton.cloning import ClonePhase
    from onebaton.fields import duration_s
    from onebaton.rollout.cloning import PRODUCTION_FILE, noted, remember, remembered

    note = noted(production.store, clone.name)
    apart = front_ends(production, world)
    path = copy.local / PRODUCTION_FILE
    changed: tuple[tuple[str, int], ...] = ()
    if clone.phase is not ClonePhase.MAKING and not making.is_there():
        clone = replace(clone, phase=ClonePhase.MAKING)
    if clone.phase is ClonePhase.MAKING:
        making.provision(apart)
        with _origin(production, clone, world, apart) as origin:
            made_at = production.clock.now()
            before = making.copy(origin)
            words = origin.words
        remember(before, path)
        changed = tuple(making.change().items())
        clone = replace(
            clone,
            phase=ClonePhase.CHANGED,
            source=words,
            made_at=made_at,
            expires_at=made_at + duration_s(clone.ttl),
        )
        note.save(clone)
        production.reporter.note("the copy is changed; it is proved before its start")
    if clone.phase is ClonePhase.CHANGED:
        making.prove(remembered(path), apart)
        clone = replace(clone, phase=ClonePhase.PROVED)
        note.save(clone)
    return clone, changed


def _begun(
    production: Cluster,
    settings: ClonesConfig,
    wish: CloneWish,
    known: Clone | None,
    world: World | None,
) -> Clone:
    """What is noted before anything is made.

    :raises RefusedError: if it can have no name or no subnet, or the zone is federated.
    """
    from onebaton.cloning import Clone
    from onebaton.fields import duration_s
    from onebaton.plan.cloning import TAKEN, free_subnet, layout, zone_name
    from onebaton.rollout.cloning import clones_in

    config = production.config
    leader = world.leader if world is not None else None
    if wish.dump is None and world is None:
        raise UnavailableError(
            f"no server of the zone {config.zone.name} answers",
            resolution="A clone is made from a living zone, or from a dump (--from).",
        )
    mode = world.settings.federation_mode if world is not None and world.settings else ""
    if mode.upper() not in ("", "STANDALONE"):
        raise RefusedError(
            f"the zone is part of a federation ({mode})",
            resolution="Zones of a federation are not cloned.",
        )
    taken = {c.subnet: c.name for c in clones_in(production.store) if c.name != wish.name}
    subnet = known.subnet if known is not None else str(free_subnet(settings.subnets, taken))
    size = wish.size or settings.size
    layout(IPv4Network(subnet), size, taken=TAKEN[config.platform.kind])
    running = leader.version if leader is not None and wish.dump is None else None
    ttl = wish.ttl or settings.ttl
    now = production.clock.now()
    return Clone(
        name=wish.name,
        zone=zone_name(config.zone.name, wish.name),
        of=config.zone.name,
        subnet=subnet,
        size=size,
        version=production.options.version or running or config.image.version,
        made_at=now,
        expires_at=now + duration_s(ttl),
        ttl=ttl,
        dump=_place_of(wish.dump),
    )


def _place_of(dump: str | None) -> str | None:
    """Where a dump is, from whatever folder it is asked for later.

    :raises UsageError: if there is no such file.
    """
    if dump is None or "://" in dump:
        return dump
    path = Path(dump).absolute()
    if not path.is_file():
        raise UsageError(f"--from: there is no file {dump}", resolution="Name another one.")
    return str(path)


@contextlib.contextmanager
def _origin(
    production: Cluster, clone: Clone, world: World | None, front_ends: tuple[str, ...]
) -> Iterator[Origin]:
    """Where the copy comes from; a dump that was fetched is gone when the block is left."""
    from onebaton.plan.cloning import source_of
    from onebaton.rollout.cloning import Origin
    from onebaton.wiring.places import clone_folder

    if clone.dump is None:
        if world is None:
            raise UnavailableError(
                f"no server of the zone {clone.of} answers",
                resolution="A clone is made from a living zone, or from a dump (--from).",
            )
        yield Origin(source_of(world), None, front_ends)
        return
    if "://" not in clone.dump:
        yield Origin(None, Path(clone.dump), front_ends)
        return
    from onebaton.adapters.s3object import fetch

    folder = clone_folder(production.config, clone.name)
    fetched = folder / f"fetched-{clone.dump.rpartition('/')[2]}"
    try:
        timeout_s = production.config.rollout.timeouts.seed_s
        production.reporter.progress(f"fetching {clone.dump}")
        fetch(clone.dump, production.config.s3, fetched, timeout_s=timeout_s)
        yield Origin(None, fetched, front_ends)
    finally:
        fetched.unlink(missing_ok=True)


def making_of(production: Cluster, copy: Cluster, name: str) -> Making:
    from onebaton.adapters.clonedoor import SshCloneDoor
    from onebaton.adapters.scrubrules import read
    from onebaton.rollout.cloning import Making, identity_of
    from onebaton.rollout.copies import Stopwatch

    settings = production.config.clones
    scrub = settings.scrub if settings is not None else None
    credentials = copy.config.zone.credentials
    return Making(
        site=copy.site,
        door=SshCloneDoor(
            copy.ssh,
            production=production.ssh,
            database=copy.config.database.name,
            pace_mib_s=settings.copy_mib_s if settings is not None else None,
            reporter=copy.reporter,
        ),
        wanted=copy.wanted,
        identity=identity_of(
            copy.wanted,
            zone_id=copy.config.zone.id,
            endpoint=copy.vip_endpoint,
            user=credentials.user,
            password=copy.password,
        ),
        rules=read(scrub) if scrub is not None else (),
        ssh_port=production.config.ssh.port,
        watch=Stopwatch(copy.site),
        began=copy.clock.monotonic(),
        again=again(production, name),
    )


def front_ends(production: Cluster, world: World | None) -> tuple[str, ...]:
    """Addresses of production's servers and machines, known or configured, and its VIP."""
    config = production.config
    found = {str(config.zone.vip.address.ip)}
    found |= {str(a) for group in config.network.generations.values() for a in group}
    if world is not None:
        found |= {server.address for server in world.zone.servers}
    return tuple(sorted(found))


def world_of(production: Cluster, *, living: bool) -> World | None:
    """Production as it is now; ``None`` if it does not answer.

    :param living: the copy comes from it; else it need not be there any more, nor its password.
    """
    with contextlib.suppress(UnavailableError if living else OnebatonError):
        return production.look()
    return None


def again(production: Cluster, name: str) -> str:
    return production.options.again(f"clone create {name}")


def _settings(production: Cluster) -> ClonesConfig:
    production.require_no_clone("clones")
    if production.config.clones is None:
        raise RefusedError(
            "no subnets are configured for clones",
            resolution=f"Give clones.subnets in {production.options.config} a subnet that is "
            "apart from production's.",
        )
    return production.config.clones


def _write_files(production: Cluster, clone: Clone) -> None:
    """A password of the clone's own, for its owner alone, and its configuration."""
    import secrets

    from onebaton.plan.cloning import PASSWORD_FILE
    from onebaton.wiring.places import clone_folder

    folder = clone_folder(production.config, clone.name)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    password = folder / PASSWORD_FILE
    password.touch(mode=0o600)
    password.write_text(f"{secrets.token_urlsafe(PASSWORD_BYTES)}\n")
    write_config(production, clone)


def write_config(production: Cluster, clone: Clone) -> None:
    from onebaton.adapters.configfile import written
    from onebaton.plan.cloning import CONFIG_FILE, derived
    from onebaton.wiring.places import clone_folder

    folder = clone_folder(production.config, clone.name)
    folder.mkdir(parents=True, exist_ok=True)
    head = f"Written by `onebaton clone`: {clone.name}, a copy of {clone.of}."
    text = written(derived(production.config, clone, folder.absolute()), head=head)
    (folder / CONFIG_FILE).write_text(text)


def view_of(
    copy: Cluster,
    clone: Clone,
    making: Making,
    notes: tuple[str, ...],
    changed: tuple[tuple[str, int], ...] = (),
) -> CloneView:
    from onebaton.cloning import CloneView
    from onebaton.rollout.reporting import clone_row

    return CloneView(
        clone=clone_row(clone, copy.clock.now()),
        endpoint=copy.vip_endpoint,
        user=copy.config.zone.credentials.user,
        password_file=str(copy.config.zone.credentials.password.file),
        fence=copy.config.clone.fence if copy.config.clone is not None else "",
        parts=tuple(making.watch.parts),
        changed=changed,
        notes=notes,
    )
