"""Checks of the settings that Raft lives by."""

from onebaton.plan import gates
from onebaton.plan.diagnosis.check import Case, Check, Outcome, amount, by_gates, cannot_tell
from onebaton.plan.findings import Finding

#: BROADCAST_TIMEOUT_MS and ELECTION_TIMEOUT_MS where nothing is set (facts, "Elections").
_BROADCAST_MS, _ELECTION_MS = 500, 5000
#: A log is purged in steps beyond LOG_RETENTION; at so many times of it the purge does not work.
_LOG_FACTOR = 2


def _settings_unseen(case: Case) -> tuple[Finding, ...]:
    if case.scene.world.settings is not None:
        return ()
    return cannot_tell("the zone", "one.system.config of the leader gave no answer")


def _mode(case: Case) -> str:
    settings = case.scene.world.settings
    return f"FEDERATION/MODE is {settings.federation_mode}" if settings is not None else ""


def _xmlrpc_timeout(case: Case) -> Outcome:
    blockers = list(gates.settings_seen(case.scene))
    values = {m.host.name: found.xmlrpc_timeout_ms for m, found in case.examined}
    blockers += [
        Finding(
            f"oned on {name} would wait for a dead server for ever",
            "XMLRPC_TIMEOUT_MS is 0 in its oned.conf",
            "Set it to 1000 in the RAFT section there, and restart opennebula.service.",
        )
        for name, value in values.items()
        if value == 0
    ]
    shown = [f"{name} {'default' if ms is None else f'{ms} ms'}" for name, ms in values.items()]
    return Outcome(
        f"XMLRPC_TIMEOUT_MS: {', '.join(shown)}",
        blockers=tuple(blockers),
        unseen=case.unexamined if case.scene.world.settings is not None else (),
    )


def _election_timeout(case: Case) -> Outcome:
    blockers, warnings, shown, silent = list(gates.steering(case.scene)), [], [], []
    wanted = case.scene.wanted.limits.election_timeout_ms
    settings = case.scene.world.settings
    zone_wide = settings.broadcast_timeout_ms if settings is not None else _BROADCAST_MS
    examined = {m.server.id: found for m, found in case.examined}
    for member in case.members:
        name = member.host.name
        if member.facts is None:
            silent.append(name)
            continue
        election = member.facts.election_timeout_ms
        found = examined.get(member.server.id)
        own = found.broadcast_timeout_ms if found is not None else None
        broadcast = zone_wide if own is None else own
        if (_ELECTION_MS if election is None else election) < 2 * broadcast:
            blockers.append(
                Finding(
                    f"{name} would stand against a healthy leader",
                    f"ELECTION_TIMEOUT_MS is {election}, BROADCAST_TIMEOUT_MS {broadcast}",
                    f"Set ELECTION_TIMEOUT_MS there to {2 * broadcast} or more, and restart "
                    "opennebula.service.",
                )
            )
        elif election is not None and election != wanted:
            warnings.append(
                Finding(
                    f"{name} has another election timeout than is configured",
                    f"ELECTION_TIMEOUT_MS is {election}, oned.election_timeout_ms {wanted}",
                    "A hand-over of ours that was interrupted leaves that behind: run the "
                    "rollout again, or set it by hand.",
                )
            )
        shown.append(f"{name} {'default' if election is None else f'{election} ms'}")
    return Outcome(
        f"ELECTION_TIMEOUT_MS: {', '.join(shown)}; heartbeats every {zone_wide} ms",
        blockers=tuple(blockers),
        warnings=tuple(warnings),
        unseen=cannot_tell(", ".join(silent), "it could not be looked into"),
    )


def _window(case: Case) -> str:
    settings = case.scene.world.settings
    if settings is None:
        return ""
    limits = case.scene.wanted.limits
    return (
        f"{case.scene.world.records_per_second:.1f} records/s for {limits.expected_seed_s:g} s, "
        f"LOG_RETENTION {settings.log_retention}, of which {limits.log_window_share:.0%} may be "
        "used"
    )


def _logdb(case: Case) -> Outcome:
    settings = case.scene.world.settings
    warnings, shown, silent = [], [], []
    for member, found in case.examined:
        name, records = member.host.name, found.logdb_records
        if records is None or found.logdb_bytes is None:
            silent.append(name)
            continue
        shown.append(f"{name} {records} records, {amount(found.logdb_bytes)}")
        if settings is not None and records > _LOG_FACTOR * settings.log_retention:
            warnings.append(
                Finding(
                    f"the log on {name} is not purged",
                    f"{records} records, and LOG_RETENTION is {settings.log_retention}",
                    "Look at LOG_PURGE_TIMEOUT and LIMIT_PURGE in oned.conf, and at oned.log: a "
                    "follower that lags keeps the leader from purging.",
                )
            )
    unseen = (
        *case.unexamined,
        *cannot_tell(", ".join(silent), "its database does not answer"),
        *_settings_unseen(case),
    )
    return Outcome("; ".join(shown), warnings=tuple(warnings), unseen=unseen)


SETTINGS_CHECKS = (
    Check(
        "zone-state",
        "the zone is enabled",
        "a disabled zone refuses writes, addserver and delserver",
        blocks=True,
        judge=by_gates(gates.enabled, seen=lambda c: f"STATE of zone {c.scene.world.zone.id}"),
    ),
    Check(
        "federation",
        "the zone is not federated",
        "a federated zone has rules of its own",
        blocks=True,
        judge=by_gates(gates.standalone, seen=_mode, unseen=_settings_unseen),
    ),
    Check(
        "xmlrpc-timeout",
        "calls between servers have a deadline",
        "votes are asked one after another: with XMLRPC_TIMEOUT_MS 0 a dead server blocks all",
        blocks=True,
        judge=_xmlrpc_timeout,
    ),
    Check(
        "election-timeout",
        "no server stands against a healthy leader",
        "an ELECTION_TIMEOUT_MS near BROADCAST_TIMEOUT_MS starts elections without need",
        blocks=True,
        judge=_election_timeout,
    ),
    Check(
        "log-window",
        "the log does not outrun a seed",
        "there is no snapshot transfer: a seed older than LOG_RETENTION never catches up",
        blocks=True,
        judge=by_gates(gates.log_window, seen=_window, unseen=_settings_unseen),
    ),
    Check(
        "logdb",
        "the log is purged",
        "every seed carries the whole logdb with it",
        blocks=False,
        judge=_logdb,
    ),
)
