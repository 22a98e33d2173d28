"""Checks of the machines: what a leader's hook needs, and what lies about."""

from collections.abc import Iterator, Mapping

from onebaton.examination import Examination, RaftHook
from onebaton.model import Vip
from onebaton.plan import gates, places
from onebaton.plan.diagnosis.check import Case, Check, Outcome, amount, cannot_tell
from onebaton.plan.findings import Finding

#: With less than this free a database is about to stop.
_LEAST_FREE_BYTES = 256 << 20
#: How far the clocks of two machines may be apart, in seconds.
_CLOCK_S = 2.0


def _reached(case: Case) -> Outcome:
    found = tuple(gates.machines_seen(case.scene))
    named = [member.host.name for member, _ in case.examined]
    return Outcome(f"looked into: {', '.join(named)}", blockers=found, unseen=case.unexamined)


def _hooks(case: Case) -> Outcome:
    blockers: list[Finding] = []
    warnings: list[Finding] = []
    silent: list[str] = []
    commands: dict[str, None] = {}
    for member, found in case.examined:
        name = member.host.name
        for hook in found.hooks:
            blockers += _wrong_hook(name, hook, found, case.vip)
            if hook.command is not None:
                commands[hook.command] = None
                if hook.executable is None:
                    silent.append(name)
        if not found.has_arping:
            warnings.append(
                Finding(
                    f"arping is not installed on {name}",
                    "the hook announces the virtual IP with it",
                    "Install it (package arping or iputils-arping); without it clients go on "
                    "sending to the old leader's machine.",
                )
            )
    unseen = (*case.unexamined, *cannot_tell(", ".join(silent), "COMMAND was not understood"))
    return Outcome(
        f"{', '.join(commands)} with {case.vip.cidr} on {case.vip.interface}",
        blockers=tuple(blockers),
        warnings=tuple(warnings),
        unseen=unseen,
    )


def _wrong_hook(name: str, hook: RaftHook, found: Examination, vip: Vip) -> Iterator[Finding]:
    which = f"RAFT_{hook.role.upper()}_HOOK"
    if hook.command is None:
        yield Finding(
            f"{name} has no {which}",
            "it stands nowhere in its oned.conf",
            "Add it, with COMMAND raft/vip.sh, as on the other servers.",
        )
        return
    if hook.executable is False:
        yield Finding(
            f"oneadmin on {name} cannot run the hook {hook.command}",
            f"COMMAND of {which} is not there or not executable",
            "Put it into /var/lib/one/remotes/hooks with the owner oneadmin and mode 0750.",
        )
    if hook.arguments[:3] != (hook.role, vip.interface, vip.cidr):
        yield Finding(
            f"the {hook.role}'s hook on {name} is about something else than the virtual IP",
            f"ARGUMENTS are {' '.join(hook.arguments) or 'empty'}, not "
            f"{hook.role} {vip.interface} {vip.cidr}",
            "Correct ARGUMENTS in its oned.conf, or zone.vip in the configuration.",
        )
    interface = hook.arguments[1] if len(hook.arguments) > 1 else None
    if interface is not None and interface not in found.interfaces:
        yield Finding(
            f"{name} has no network interface {interface}",
            f"{which} names it; there are {', '.join(sorted(found.interfaces))}",
            "Correct ARGUMENTS in its oned.conf.",
        )


def _hook_rights(case: Case) -> Outcome:
    blockers = tuple(
        Finding(
            f"oneadmin on {member.host.name} may not change addresses",
            f"`sudo -n -l ip address add {case.vip.cidr} dev {case.vip.interface}` is refused",
            "Give it back its rules in /etc/sudoers.d (package opennebula): "
            "NOPASSWD for `ip address *` and `arping`.",
        )
        for member, found in case.examined
        if not found.may_change_addresses
    )
    return Outcome(
        f"`sudo -n ip address add {case.vip.cidr}` is allowed to oneadmin",
        blockers=blockers,
        unseen=case.unexamined,
    )


def _sudo(case: Case) -> Outcome:
    warnings = tuple(
        Finding(
            f"oneadmin on {member.host.name} cannot use sudo",
            "`sudo -n -l` is refused",
            "Look at /etc/sudoers.d for the rules of the package opennebula.",
        )
        for member, found in case.examined
        if not found.may_sudo
    )
    return Outcome("`sudo -n -l` answers oneadmin", warnings=warnings, unseen=case.unexamined)


def _disk(case: Case) -> Outcome:
    blockers, warnings, shown, silent = [], [], [], []
    examined = {m.server.id: found for m, found in case.examined}
    for member in case.members:
        name, found = member.host.name, examined.get(member.server.id)
        if member.facts is None:
            silent.append(name)
            continue
        free = member.facts.disk_free_bytes
        size = found.database_bytes if found is not None else None
        text = f"{name} {amount(free)} free, database {amount(size)}"
        shown.append(text)
        if free < _LEAST_FREE_BYTES:
            blockers.append(
                Finding(
                    f"the disk of {name} is full",
                    text,
                    "Make room where MariaDB keeps its data.",
                )
            )
        elif size is None:
            silent.append(name)
        elif free < size:
            warnings.append(
                Finding(
                    f"{name} has less room than its database takes",
                    text,
                    "Make room: there is none for a dump or a copy beside it.",
                )
            )
    return Outcome(
        "; ".join(shown),
        blockers=tuple(blockers),
        warnings=tuple(warnings),
        unseen=cannot_tell(
            ", ".join(silent), "it could not be looked into, or its database does not answer"
        ),
    )


def _clock(case: Case) -> Outcome:
    offsets = {member.host.name: found.clock_offset_s for member, found in case.examined}
    shown = ", ".join(f"{name} {offset:+.1f} s" for name, offset in offsets.items())
    warnings: tuple[Finding, ...] = ()
    if offsets and max(offsets.values()) - min(offsets.values()) > _CLOCK_S:
        warnings = (
            Finding(
                "the clocks of the machines differ",
                f"against ours: {shown}",
                "Let chrony or systemd-timesyncd set them.",
            ),
        )
    return Outcome(f"against ours: {shown}", warnings=warnings, unseen=case.unexamined)


def _monitor_address(case: Case) -> Outcome:
    warnings = tuple(
        Finding(
            f"the hosts are told another address than the virtual IP by {member.host.name}",
            f"MONITOR_ADDRESS is {found.monitor_address or 'not set'} in its monitord.conf",
            f"Set NETWORK/MONITOR_ADDRESS to {case.vip.address}, and restart "
            "opennebula.service there.",
        )
        for member, found in case.examined
        if found.monitor_address != case.vip.address
    )
    return Outcome(
        f"MONITOR_ADDRESS is {case.vip.address}", warnings=warnings, unseen=case.unexamined
    )


def _drift(case: Case) -> Outcome:
    digests = {m.host.name: dict(found.config_digests) for m, found in case.examined}
    silent = [name for name, statements in digests.items() if not statements]
    known = {name: statements for name, statements in digests.items() if statements}
    warnings = []
    for statement, groups in differing(known):
        warnings.append(
            Finding(
                f"{statement} of oned.conf is not the same on all machines",
                " against ".join(", ".join(names) for names in groups),
                "Decide which one is right. New nodes get what the image and the "
                "configuration say: what is only on one machine is lost with it.",
            )
        )
    count = len(next(iter(known.values()), {}))
    unseen = (*case.unexamined, *cannot_tell(", ".join(silent), "there is no oned.conf"))
    return Outcome(
        f"{count} statements compared on {len(known)} machines",
        warnings=tuple(warnings),
        unseen=unseen,
    )


def differing(machines: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, list[list[str]]]]:
    """What is not the same on all machines.

    :param machines: digests by what they are of, by name of the machine.
    :returns: each thing that differs, with the machines that agree on it, the largest group first.
    """
    for thing in sorted({thing for digests in machines.values() for thing in digests}):
        groups: dict[str | None, list[str]] = {}
        for name, digests in machines.items():
            groups.setdefault(digests.get(thing), []).append(name)
        if len(groups) > 1:
            yield thing, sorted(groups.values(), key=len, reverse=True)


def _known_servers(case: Case) -> Outcome:
    ids = frozenset(member.server.id for member in case.members)
    warnings, silent = [], []
    for member in case.members:
        if member.is_leader:
            # It added the later ones itself, or read the list anew as a candidate.
            continue
        known = member.facts.known_servers if member.facts is not None else frozenset()
        missing = ids - known
        if not known:
            silent.append(member.server.name)
        elif missing:
            warnings.append(
                Finding(
                    f"{member.server.name} was not restarted since others joined",
                    f"at its start the zone had {_numbers(known)}; {_numbers(missing)} came later",
                    "Restart opennebula.service there while all servers are healthy, one at a "
                    "time.",
                )
            )
    return Outcome(
        f"every follower was started with {_numbers(ids)} in the zone",
        warnings=tuple(warnings),
        unseen=cannot_tell(
            ", ".join(silent),
            "it could not be looked into, or onebaton never started it: oned itself does not tell",
        ),
    )


def _leftovers(case: Case) -> Outcome:
    warnings = [
        Finding(
            f"{member.host.name} carries what an interrupted step left",
            ", ".join(found.leftovers),
            "Run the interrupted command again; if there is none, remove it by hand.",
        )
        for member, found in case.examined
        if found.leftovers
    ]
    for member in case.members:
        facts = member.facts
        if (
            facts is not None
            and facts.oned_active
            and (facts.oned_masked or not facts.oned_enabled)
        ):
            warnings.append(
                Finding(
                    f"oned on {member.host.name} would not come back after a reboot",
                    f"opennebula.service is {'masked' if facts.oned_masked else 'disabled'}",
                    "Run `systemctl unmask opennebula` and `systemctl enable opennebula` there.",
                )
            )
    return Outcome("none found", warnings=tuple(warnings), unseen=case.unexamined)


def _numbers(ids: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(ids)))


def _datastores(case: Case) -> Outcome:
    silent = [member.host.name for member in case.members if member.facts is None]
    return Outcome(
        "no files on the own disks of machines that go",
        blockers=tuple(places.nothing_only_there(case.scene)),
        unseen=cannot_tell(", ".join(silent), "it could not be looked into"),
    )


MACHINE_CHECKS = (
    Check(
        "machines",
        "every machine can be looked into",
        "a machine without ssh may hold the virtual IP and cannot be stopped",
        blocks=True,
        judge=_reached,
    ),
    Check(
        "hooks",
        "the Raft hooks are there, and about the virtual IP",
        "a hook that fails for a wrong interface leaves the zone without its address",
        blocks=True,
        judge=_hooks,
    ),
    Check(
        "hook-rights",
        "oneadmin may change addresses",
        "the hook runs `sudo -n ip address`: refused, the new leader never takes the address",
        blocks=True,
        judge=_hook_rights,
    ),
    Check(
        "sudo",
        "oneadmin may use sudo",
        "the leader's hook starts OneFlow, OneGate and HEM by sudo",
        blocks=False,
        judge=_sudo,
    ),
    Check(
        "disk",
        "there is room for the databases",
        "a leader whose database is gone may go on leading",
        blocks=True,
        judge=_disk,
    ),
    Check(
        "datastores",
        "no machine holds images that exist only there",
        "what lies on a node's own disk is destroyed with the node",
        blocks=True,
        judge=_datastores,
    ),
    Check(
        "clock",
        "the clocks agree",
        "logs of several machines are read side by side, and tokens expire by the clock",
        blocks=False,
        judge=_clock,
    ),
    Check(
        "monitor-address",
        "the hosts send their monitoring to the virtual IP",
        "hosts that were told a server's own address lose it with that server",
        blocks=False,
        judge=_monitor_address,
    ),
    Check(
        "config-drift",
        "oned.conf is the same on all machines",
        "configuration is rendered and not synchronised: a local change ends with its machine",
        blocks=False,
        judge=_drift,
    ),
    Check(
        "known-servers",
        "every follower knows all servers",
        "a follower answers `no leader found` for good when one leads that joined after its start",
        blocks=False,
        judge=_known_servers,
    ),
    Check(
        "leftovers",
        "no interrupted step left anything behind",
        "a retired unit does not come back after a reboot",
        blocks=False,
        judge=_leftovers,
    ),
)
