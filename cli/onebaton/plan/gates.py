"""Gates: what must be true of the observed world before anything is changed.

Every gate looks at the same observation and says all it has against it, with the evidence and
the way out; the findings of all gates are reported together. Only what was seen healthy counts.

While a rollout of ours is under way the world is not as it was, and the gates let pass exactly
what such a rollout leaves behind when it is interrupted (:attr:`Scene.interrupted`,
:attr:`Scene.handing_over`) and nothing else.
"""

from collections.abc import Callable, Collection, Iterator

from onebaton.model import UNKNOWN_SCHEMA, Member
from onebaton.plan.findings import Finding, refuse_if_any
from onebaton.plan.places import (
    no_strays,
    nothing_only_there,
    places_free,
    seeds_replaceable,
)
from onebaton.plan.scene import Scene
from onebaton.plan.seen import parked, passed_over, put_away
from onebaton.plan.versions import version_key

Gate = Callable[[Scene], Iterator[Finding]]


def require_open(
    scene: Scene,
    *,
    but: Collection[Gate] = (),
    also: Collection[Gate] = (),
    again: str = "onebaton plan",
) -> None:
    """See that no gate is shut.

    :param but: gates that do not count for what is to be done.
    :param also: further gates that do.
    :raises RefusedError: with the findings of all gates, if there are any.
    """
    counted = (*(gate for gate in GATES if gate not in but), *also)
    found = [finding for gate in counted for finding in gate(scene)]
    refuse_if_any(scene.wanted.zone, found, again=again)


def one_leader(scene: Scene) -> Iterator[Finding]:
    """Exactly one server says that it leads, unless a step of ours is on its way to that."""
    leaders = [m.server.name for m in scene.world.members if m.is_leader]
    if len(leaders) > 1:
        yield Finding(
            "more than one server says that it leads",
            ", ".join(leaders),
            "One of them is cut off from the others: mend the network, and wait until it follows.",
        )
    elif not leaders and scene.handing_over is None and scene.awaited is None:
        answers = [
            f"{m.server.name} {m.raft.state.name.lower() if m.raft else 'does not answer'}"
            for m in scene.world.members
        ]
        yield Finding(
            "the zone has no leader",
            ", ".join(answers) or "no server is listed",
            "Start the servers that are down, and wait for an election.",
        )


def enabled(scene: Scene) -> Iterator[Finding]:
    """A disabled zone refuses addserver and delserver."""
    if not scene.world.zone.enabled:
        yield Finding(
            "the zone is disabled",
            f"STATE of zone {scene.world.zone.id}",
            f"Enable it (`onezone enable {scene.world.zone.id}`); while it is disabled, servers "
            "can be neither added nor removed.",
        )


def standalone(scene: Scene) -> Iterator[Finding]:
    """A federated zone has rules of its own."""
    settings = scene.world.settings
    if settings is not None and settings.federation_mode.upper() != "STANDALONE":
        yield Finding(
            "the zone is federated",
            f"FEDERATION/MODE is {settings.federation_mode}",
            "Federations are not handled: upgrade it by the vendor's procedure.",
        )


def settings_seen(scene: Scene) -> Iterator[Finding]:
    """Without the leader's settings nothing can be judged against them."""
    settings = scene.world.settings
    if settings is None:
        if scene.leader is not None:
            yield Finding(
                "the leader's settings are unknown",
                "one.system.config gave no answer",
                "Use oneadmin's credentials: the call is theirs alone.",
            )
    elif settings.xmlrpc_timeout_ms == 0:
        yield Finding(
            "a dead server would block the others for ever",
            "XMLRPC_TIMEOUT_MS is 0",
            "Set it to 1000 in the RAFT section of every oned.conf, and restart one by one.",
        )


def members_healthy(scene: Scene) -> Iterator[Finding]:
    """Every member was seen healthy, but for the one that a step of ours was busy with."""
    return (finding for _, finding in unhealthy(scene))


def unhealthy(scene: Scene) -> Iterator[tuple[Member, Finding]]:
    """Members that stand in the way, each with what is wrong with it."""
    busy_with = scene.interrupted
    for member in scene.world.members:
        if parked(member) and not scene.wanted.condemns(member.node, member.server.address):
            yield member, is_parked(member)
    if scene.awaited is not None:
        return
    for member in scene.down:
        if member is busy_with or member in scene.exchanged or parked(member):
            continue
        # Without any leader nobody is caught up; that is said once, by its own gate.
        if scene.leader is None and member.raft is not None:
            continue
        yield (
            member,
            Finding(
                f"server {member.server.id} ({member.server.name}) is {_standing(member, scene)}",
                member.problem or _evidence(member),
                "To be swapped it was stopped, and may be started again (`systemctl unmask --now "
                "opennebula`)."
                if scene.swaps and put_away(member)
                else "A roll begins and goes on with healthy servers only: repair it, or take it "
                "out of the zone for good, stopped and masked first.",
            ),
        )


def is_parked(member: Member) -> Finding:
    """What is to be said of a member that an operator took out of service."""
    return Finding(
        f"server {member.server.id} ({member.server.name}) is out of service",
        member.problem or "parked, by the note on its machine",
        f"Bring it back first: `onebaton unpark {member.host.name}`.",
    )


def log_whole(scene: Scene) -> Iterator[Finding]:
    """No member passed over a record of the log, unless it is about to go anyway."""
    for member in scene.world.members:
        record = passed_over(member)
        if record is None:
            continue
        going = scene.wanted.condemns(member.node, member.server.address)
        if going or parked(member) or member is scene.interrupted:
            continue
        # New servers are there already, seeded from others; it is not to lead any more.
        if scene.new and member in scene.old and not member.is_leader:
            continue
        yield Finding(
            f"the data of {member.server.name} are not the zone's",
            f"record {record} of its logdb is not applied, later ones are: it led once, kept a "
            "write that nobody confirmed, and lacks the one in its place",
            _seeded_anew(member, scene),
        )


def _seeded_anew(member: Member, scene: Scene) -> str:
    name = member.host.name
    if scene.target_of(member) is not None and scene.old:
        way = "Stop opennebula.service on it and run the same command again: it is seeded anew."
    else:
        way = f"Have it seeded anew: `onebaton park {name}`, then `onebaton unpark {name}`."
    if not member.is_leader:
        return way
    return (
        "It leads, and shows its own data to all. Restart opennebula.service on it, and wait until "
        f"another server leads (`onebaton status`). {way}"
    )


def quorum_holds(scene: Scene) -> Iterator[Finding]:
    """A majority of all listed servers was seen healthy."""
    busy = scene.growing and scene.interrupted is not None
    if scene.leader is not None and not scene.quorum.holds and not busy:
        yield Finding(
            "no quorum",
            str(scene.quorum),
            "Bring servers back until a majority of those listed is healthy.",
        )


def same_term(scene: Scene) -> Iterator[Finding]:
    """Members in another term than the leader's are in, or before, another election."""
    leader = scene.leader
    if leader is None or leader.raft is None:
        return
    for member in scene.world.members:
        if member.raft is None or member is scene.interrupted:
            continue
        if member.raft.term != leader.raft.term:
            yield Finding(
                f"{member.server.name} is in another term than the leader",
                f"{member.raft.term}, and {leader.server.name} in {leader.raft.term}",
                "Wait until no election is going on. If it stays, something outside of the zone "
                "asks for votes: look for a removed server or a copy that still runs.",
            )


def machines_seen(scene: Scene) -> Iterator[Finding]:
    """A machine that cannot be looked into may hold the VIP, and cannot be stopped."""
    for member in scene.world.members:
        # One that is condemned, and does not lead, goes with its machine.
        going = scene.wanted.condemns(member.node) and not member.is_leader
        if member.facts is None and scene.counts(member) and not going:
            yield Finding(
                f"the machine of {member.server.name} cannot be looked into",
                f"no answer over ssh at {member.server.address}",
                "Give it the ssh key of the configuration, and take care that the port is open.",
            )


def one_vip(scene: Scene) -> Iterator[Finding]:
    """Exactly one machine holds the virtual IP, and it is the leader's."""
    holders = scene.world.vip_holders
    leader = scene.leader
    # From the end of the old leader until the new one's hook has run, nobody holds it.
    put_away = any(m is scene.interrupted for m in scene.old)
    changing = scene.handing_over is not None or (put_away and not scene.old_leads)
    if len(holders) > 1:
        yield Finding(
            "more than one machine holds the virtual IP",
            ", ".join(holders),
            "Take it off all but the leader's (`ip address del …`).",
        )
    elif not holders:
        if not changing:
            yield Finding(
                "no machine holds the virtual IP",
                f"{len(scene.world.members)} members and {len(scene.world.node_facts)} further "
                "nodes looked at",
                "Look at the leader's RAFT_LEADER_HOOK in oned.conf and at its oned.log.",
            )
    elif leader is not None and holders != (leader.host.name,):
        yield Finding(
            "the virtual IP is not on the leader's machine",
            f"{holders[0]} holds it, {leader.host.name} leads",
            "Look at the Raft hooks in oned.conf on both machines.",
        )


def same_schema(scene: Scene) -> Iterator[Finding]:
    """``oned`` starts only on exactly the database version that it was built for."""
    required = scene.wanted.image.schema
    if required == UNKNOWN_SCHEMA:
        yield Finding(
            "the database schema of the wanted image is unknown",
            f"{scene.wanted.image.name} was never asked for it",
            "Bake it again (`onebaton bake --force`).",
        )
        return
    others: dict[str, list[str]] = {}
    for member in scene.world.members:
        if member.facts is None or not scene.counts(member):
            continue
        if member.facts.schema is None:
            yield Finding(
                f"the database schema of {member.server.name} is unknown",
                "onedb version gave no answer there",
                "Run `onedb version -v` on it as oneadmin.",
            )
        elif member.facts.schema != required:
            others.setdefault(str(member.facts.schema), []).append(member.server.name)
    if others:
        seen = "; ".join(f"{', '.join(names)}: {schema}" for schema, names in others.items())
        version = scene.wanted.image.version
        yield Finding(
            "cut-over needed: the wanted image has another database schema",
            f"{seen}; {version} requires {required}",
            "Servers of both cannot serve one zone, so this cannot be rolled. Choose a "
            "version of the same schema, or see on a copy what a cut-over would do "
            f"(`onebaton rehearse --version {version}`).",
        )


def not_revoked(scene: Scene) -> Iterator[Finding]:
    """Nobody is to use a revoked image.

    What is in the middle of a change of leader is seen through first: until then the zone does
    not serve.
    """
    if scene.wanted.revoked and scene.leader is not None:
        image = scene.wanted.image
        yield Finding(
            f"the image {image.name} was revoked",
            scene.wanted.revoked,
            f"Bake {image.version} again (`onebaton bake`), or choose another version. A rollout "
            "to it that is half-done is taken back by `onebaton abort`.",
        )


def not_older(scene: Scene) -> Iterator[Finding]:
    """OpenNebula knows no way back."""
    wanted = scene.wanted.image.version
    versions = {
        m.version or (m.facts.package_version if m.facts is not None else None): m.server.name
        for m in scene.world.members
    }
    newer = {
        version: name
        for version, name in versions.items()
        if version is not None and version_key(version) > version_key(wanted)
    }
    if newer:
        version = max(newer, key=version_key)
        yield Finding(
            "the wanted image is older than the zone",
            f"{newer[version]} runs {version}, the image has {wanted}",
            f"Bake {version} or later.",
        )


def steering(scene: Scene) -> Iterator[Finding]:
    """The steered server must win, and must not stand against a healthy leader."""
    settings, limits = scene.world.settings, scene.wanted.limits
    if settings is None or not scene.old_leads:
        return
    steered = limits.steered_election_timeout_ms
    if steered < 2 * settings.broadcast_timeout_ms:
        yield Finding(
            "the steered election timeout would topple healthy leaders",
            f"{steered} ms, and heartbeats come every {settings.broadcast_timeout_ms} ms",
            f"Set rollout.steered_election_timeout_ms to {2 * settings.broadcast_timeout_ms} "
            "or more.",
        )
    if steered >= limits.election_timeout_ms:
        yield Finding(
            "the steered election timeout would not win the election",
            f"{steered} ms, and the other servers' is {limits.election_timeout_ms} ms",
            "Set rollout.steered_election_timeout_ms below oned.election_timeout_ms.",
        )


def log_window(scene: Scene) -> Iterator[Finding]:
    """A seed is good only as long as the leader still holds every record after it."""
    settings, limits = scene.world.settings, scene.wanted.limits
    seeded = (scene.node_of(spec) is not None and scene.is_seeded(spec) for spec in scene.targets)
    if settings is None or all(seeded):
        return
    budget = limits.log_window_share * settings.log_retention
    expected = scene.world.records_per_second * limits.expected_seed_s
    if expected >= budget:
        yield Finding(
            "the log may outrun the seeds",
            f"{scene.world.records_per_second:.1f} records/s for {limits.expected_seed_s:g} s are "
            f"{expected:.0f}, and LOG_RETENTION {settings.log_retention} leaves {budget:.0f}",
            "Roll when there is less to write, or raise LOG_RETENTION.",
        )


def secrets_seen(scene: Scene) -> Iterator[Finding]:
    """New nodes get the secrets of the machine they are seeded from."""
    source = scene.source
    if source is not None and source.facts is not None and source.facts.secret_digest is None:
        yield Finding(
            f"the secrets of {source.host.name} cannot be read",
            "no digest of /var/lib/one/.one",
            "See that the ssh user may read it.",
        )


def large_enough(scene: Scene) -> Iterator[Finding]:
    """With two voters both are needed: one cannot be stopped without losing the zone."""
    listed, wanted = len(scene.world.members), scene.wanted.size
    if scene.growing or scene.swaps:
        # What a swap needs is said with its places.
        return
    if min(listed, wanted) == 1 and (scene.old or listed != wanted):
        yield Finding(
            "a zone of one server cannot be rolled",
            f"{listed} server{'s' * (listed != 1)} listed, {wanted} wanted; of two voters both "
            "are needed, so that whichever stops, nobody can be elected",
            "Roll between sizes of three or more. For a single server there is the planned "
            "outage: stop it, move its database to the new node, start that one.",
        )


GATES: tuple[Gate, ...] = (
    one_leader,
    enabled,
    standalone,
    settings_seen,
    members_healthy,
    log_whole,
    quorum_holds,
    same_term,
    machines_seen,
    one_vip,
    same_schema,
    not_older,
    not_revoked,
    large_enough,
    steering,
    log_window,
    secrets_seen,
    places_free,
    no_strays,
    nothing_only_there,
    seeds_replaceable,
)

#: Those that a change of the schema has no use for: it mixes no servers and steers no election.
ROLL_GATES: tuple[Gate, ...] = (same_schema, large_enough, steering)


def _standing(member: Member, scene: Scene) -> str:
    limit = scene.wanted.limits.max_lag_records
    if member.lag is not None and member.lag > limit:
        return f"{member.lag} records behind, {limit} are allowed"
    return member.health.value


def _evidence(member: Member) -> str:
    if member.raft is None:
        return f"no answer from {member.server.endpoint}"
    return f"{member.raft.state.name.lower()} in term {member.raft.term}"
