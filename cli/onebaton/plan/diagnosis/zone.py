"""Checks of the zone as a whole: who leads, who votes, who runs what."""

from collections.abc import Sequence

from onebaton.model import Health, LogPosition, Member, NodeState
from onebaton.plan import gates, places
from onebaton.plan.diagnosis.check import Case, Check, Outcome, by_gates, cannot_tell
from onebaton.plan.findings import Finding
from onebaton.plan.versions import version_key

#: How many of a long list are named.
_NAMED = 5


def _leader(case: Case) -> str:
    leader = case.scene.leader
    if leader is None or leader.raft is None:
        return "a hand-over of ours is under way"
    return f"{leader.server.name} leads in term {leader.raft.term}"


def _nobody_leads(case: Case) -> tuple[Finding, ...]:
    """Without a leader nobody can be compared with anybody."""
    if case.scene.leader is not None or case.scene.handing_over is not None:
        return ()
    return cannot_tell("the zone", "it has no leader")


def _members(case: Case) -> Outcome:
    found = gates.unhealthy(case.scene)
    blockers = tuple(finding for member, finding in found if not _lags(member))
    return Outcome(
        ", ".join(f"{m.server.name} {m.health.value}" for m in case.members), blockers=blockers
    )


def _lag(case: Case) -> Outcome:
    found = gates.unhealthy(case.scene)
    blockers = tuple(finding for member, finding in found if _lags(member))
    lags = [
        f"{m.server.name} {m.lag}" for m in case.members if not m.is_leader and m.lag is not None
    ]
    silent = [m.server.name for m in case.speaking if m.lag is None]
    return Outcome(
        f"records behind: {', '.join(lags) or 'there is no follower'}",
        blockers=blockers,
        unseen=cannot_tell(", ".join(silent), "no log index was answered to compare"),
    )


def _lags(member: Member) -> bool:
    return member.health is Health.LAGGING


def _term(case: Case) -> Outcome:
    risen, silent, seen = [], [], set()
    for member in case.speaking:
        later = case.checkup.readings.get(member.server.id)
        if member.raft is None or later is None:
            silent.append(member.server.name)
            continue
        seen.add(later.term)
        if later.term != member.raft.term:
            risen.append(f"{member.server.name} from {member.raft.term} to {later.term}")
    blockers = tuple(gates.same_term(case.scene))
    if risen:
        blockers += (
            Finding(
                f"the term changed within {case.checkup.window_s:.1f} s",
                ", ".join(risen),
                "Wait until it stands still. If it goes on rising, a server outside of the zone "
                "asks for votes: stop and mask the oned of every removed server and every copy.",
            ),
        )
    terms = ", ".join(map(str, sorted(seen)))
    return Outcome(
        f"term {terms} of all, twice within {case.checkup.window_s:.1f} s",
        blockers=blockers,
        unseen=cannot_tell(", ".join(silent), "it did not tell its term twice"),
    )


def _views(case: Case) -> Outcome:
    leader, readings = case.scene.leader, case.checkup.readings
    if leader is not None and leader.server.id in readings:
        # Its word of the same moment: a server may have come or gone since the observation.
        wanted = readings[leader.server.id].servers
    else:
        wanted = tuple(sorted(server.id for server in case.scene.world.zone.servers))
    blockers, silent = [], []
    for member in case.speaking:
        later = readings.get(member.server.id)
        if later is None:
            silent.append(member.server.name)
        elif later.servers != wanted:
            blockers.append(
                Finding(
                    f"{member.server.name} sees another zone than the leader",
                    f"it lists the servers {_ids(later.servers)}, the leader {_ids(wanted)}",
                    "Wait a moment; if it stays, restart opennebula.service there while the "
                    "other servers are healthy.",
                )
            )
    return Outcome(
        f"all list the servers {_ids(wanted)}",
        blockers=tuple(blockers),
        unseen=cannot_tell(", ".join(silent), "it did not answer when it was asked again"),
    )


def _vip_unseen(case: Case) -> tuple[Finding, ...]:
    silent = [m.host.name for m in case.members if m.facts is None]
    listed = {m.host.name for m in case.members}
    known = case.scene.world.node_facts
    silent += [
        node.spec.name
        for node in case.scene.world.nodes
        if node.spec.name not in listed
        and node.spec.name not in known
        and node.state is NodeState.RUNNING
    ]
    return cannot_tell(", ".join(silent), "it could not be looked into, and may hold the address")


def _secrets(case: Case) -> Outcome:
    digests = {m.host.name: m.facts.secret_digest for m in case.members if m.facts is not None}
    blockers = tuple(gates.secrets_seen(case.scene))
    groups = _groups({name: digest for name, digest in digests.items() if digest is not None})
    if len(groups) > 1:
        blockers += (
            Finding(
                "the secrets of the servers differ",
                _against(groups),
                "Find out which one is right, and copy its /var/lib/one/.one to the others.",
            ),
        )
    silent = [m.host.name for m in case.members if digests.get(m.host.name) is None]
    return Outcome(
        f"one digest of /var/lib/one/.one on {len(digests)} machines",
        blockers=blockers,
        unseen=cannot_tell(", ".join(silent), "no digest of /var/lib/one/.one"),
    )


def _schema(case: Case) -> Outcome:
    found = {m.host.name: m.facts.schema for m in case.members if m.facts is not None}
    schemas = {name: str(schema) for name, schema in found.items() if schema is not None}
    groups = _groups(schemas)
    blockers: tuple[Finding, ...] = ()
    if len(groups) > 1:
        shown = ", ".join(f"{name} {schema}" for name, schema in schemas.items())
        blockers = (
            Finding(
                "the databases have different schemas",
                shown,
                "Find out how that came about before anything else: one of them was migrated "
                "by itself.",
            ),
        )
    silent = [m.host.name for m in case.members if m.host.name not in schemas]
    return Outcome(
        f"schema {', '.join(groups) or 'unknown'} on {len(schemas)} machines",
        blockers=blockers,
        unseen=cannot_tell(", ".join(silent), "no OpenNebula database was seen"),
    )


def _versions(case: Case) -> Outcome:
    runs = {m.server.name: m.version for m in case.members if m.version is not None}
    warnings = []
    if len(set(runs.values())) > 1:
        warnings.append(
            Finding(
                "the servers run different versions",
                ", ".join(f"{name} {version}" for name, version in runs.items()),
                "Finish the rollout that is under way, or roll all of them to one image.",
            )
        )
    for member in case.members:
        installed = member.facts.package_version if member.facts is not None else None
        if installed is None or member.version is None:
            continue
        if version_key(installed) != version_key(member.version):
            warnings.append(
                Finding(
                    f"{member.server.name} runs another version than is installed",
                    f"{member.version} answers, the package is {installed}",
                    "Someone upgraded in place without a restart: roll it to a baked image.",
                )
            )
    silent = [m.server.name for m in case.speaking if m.version is None]
    return Outcome(
        f"all run {', '.join(sorted(set(runs.values())))}",
        warnings=tuple(warnings),
        unseen=cannot_tell(", ".join(silent), "no answer to one.system.version"),
    )


def _target(case: Case) -> Outcome:
    image = case.scene.wanted.image
    if not case.baked:
        warning = Finding(
            f"no image of OpenNebula {image.version} was baked",
            "whether the zone can be rolled to it is unknown",
            "Bake it: `onebaton bake`.",
        )
        return Outcome("", warnings=(warning,))
    found = (
        *gates.same_schema(case.scene),
        *gates.not_older(case.scene),
        *gates.not_revoked(case.scene),
    )
    return Outcome(f"{image.name} requires schema {image.schema}", blockers=found)


def _transients(case: Case) -> Outcome:
    transients = case.checkup.transients
    if transients is None:
        return Outcome("", unseen=cannot_tell("VMs and images", "the zone did not list them"))
    warnings: tuple[Finding, ...] = ()
    unseen: tuple[Finding, ...] = ()
    if transients.found:
        named = [f"{t.kind} {t.id} ({t.name}) {t.state}" for t in transients.found[:_NAMED]]
        more = len(transients.found) - len(named)
        warnings = (
            Finding(
                f"{len(transients.found)} operations on VMs and images are in flight",
                ", ".join(named) + (f" and {more} more" if more else ""),
                "Wait for their end (`onevm list`, `oneimage list`); look at them again after "
                "the change of leader.",
            ),
        )
    if not transients.complete:
        unseen = cannot_tell(
            "all VMs and images", f"there are more than the {transients.looked_at} looked at"
        )
    return Outcome(
        f"{transients.looked_at} active VMs and images looked at",
        warnings=warnings,
        unseen=unseen,
    )


def _positions(case: Case) -> dict[str, LogPosition | None]:
    return {m.host.name: m.facts.database if m.facts is not None else None for m in case.members}


def _applied(case: Case) -> str:
    seen = {name: at.last_applied for name, at in _positions(case).items() if at is not None}
    return "applied up to record: " + ", ".join(f"{name} {index}" for name, index in seen.items())


def _log_unseen(case: Case) -> tuple[Finding, ...]:
    silent = [name for name, at in _positions(case).items() if at is None]
    return cannot_tell(", ".join(silent), "its logdb could not be read")


def _ids(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids)) or "none"


def _groups(values: dict[str, str]) -> dict[str, list[str]]:
    """Names by value, the largest group first."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(value, []).append(name)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _against(groups: dict[str, list[str]]) -> str:
    """Who agrees with whom."""
    return " against ".join(", ".join(names) for names in groups.values())


ZONE_CHECKS = (
    Check(
        "leader",
        "exactly one server leads",
        "two leaders are a split zone, and none takes no writes",
        blocks=True,
        judge=by_gates(gates.one_leader, seen=_leader),
    ),
    Check(
        "quorum",
        "a majority of the listed servers is healthy",
        "every listed server is a voter, and one that is added counts as dead at first",
        blocks=True,
        judge=by_gates(
            gates.quorum_holds, seen=lambda c: str(c.scene.quorum), unseen=_nobody_leads
        ),
    ),
    Check(
        "members",
        "every server is healthy",
        "a roll begun with one server in error cost a zone its quorum for good",
        blocks=True,
        judge=_members,
    ),
    Check(
        "lag",
        "every follower is level with the leader",
        "a follower outside of the leader's log looks healthy and never catches up",
        blocks=True,
        judge=_lag,
    ),
    Check(
        "term",
        "the term stands still and is the same everywhere",
        "votes know no membership: a removed server or a copy that still runs topples leaders",
        blocks=True,
        judge=_term,
    ),
    Check(
        "views",
        "all servers list the same zone",
        "a server does not learn of members that were added after its start",
        blocks=True,
        judge=_views,
    ),
    Check(
        "strays",
        "no oned runs outside of the zone",
        "a removed server that still runs keeps toppling the leader",
        blocks=True,
        judge=by_gates(
            places.no_strays,
            seen=lambda c: f"{len(c.scene.world.node_facts)} further nodes looked at",
        ),
    ),
    Check(
        "log",
        "no server passed over a record of the log",
        "a deposed leader may apply a write of its own that was never confirmed, in silence",
        blocks=True,
        judge=by_gates(gates.log_whole, seen=_applied, unseen=_log_unseen),
    ),
    Check(
        "vip",
        "the leader's machine alone holds the virtual IP",
        "a leader that is cut off or killed keeps the address while the next one takes it too",
        blocks=True,
        judge=by_gates(
            gates.one_vip,
            seen=lambda c: f"{c.vip.cidr} on {', '.join(c.scene.world.vip_holders)}",
            unseen=_vip_unseen,
        ),
    ),
    Check(
        "secrets",
        "all servers have the same secrets",
        "a server with another one_auth answers with term 4294967295 and topples the leader",
        blocks=True,
        judge=_secrets,
    ),
    Check(
        "schema",
        "all databases have one schema",
        "oned starts only on exactly the schema that it was built for",
        blocks=True,
        judge=_schema,
    ),
    Check(
        "versions",
        "all servers run the version that is installed",
        "releases of one schema mix, but only for the time of a roll",
        blocks=False,
        judge=_versions,
    ),
    Check(
        "target",
        "the zone can be rolled to the wanted image",
        "another schema cannot be rolled, and OpenNebula knows no way back",
        blocks=True,
        judge=_target,
    ),
    Check(
        "places",
        "the new nodes' names and addresses are free",
        "addserver takes a name that is in use without a word",
        blocks=True,
        judge=by_gates(
            places.places_free,
            seen=lambda c: (
                f"generation {c.scene.slot}: " + ", ".join(spec.address for spec in c.scene.targets)
            ),
        ),
    ),
    Check(
        "size",
        "one server can stop without stopping the zone",
        "of two voters both are needed",
        blocks=True,
        judge=by_gates(gates.large_enough, seen=lambda c: f"{len(c.members)} servers"),
    ),
    Check(
        "seeds",
        "no server runs on a database that cannot catch up",
        "the leader keeps LOG_RETENTION records and sends no snapshots",
        blocks=True,
        judge=by_gates(places.seeds_replaceable, seen=lambda _: "none is to be seeded anew"),
    ),
    Check(
        "transients",
        "no operation on a VM or an image is in flight",
        "operations in flight at a change of leader are lost by design",
        blocks=False,
        judge=_transients,
    ),
)
