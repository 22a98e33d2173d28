"""What the nodes are made of: images, Terraform's records, files, versions."""

from collections.abc import Iterator

from onebaton.drift import Configured, Drift
from onebaton.model import UNKNOWN_SCHEMA, Member
from onebaton.plan.diagnosis.machines import differing
from onebaton.plan.drift.sight import Sight
from onebaton.plan.versions import version_key


def images(sight: Sight) -> Iterator[Drift]:
    wanted = sight.wanted.image
    if sight.unbaked:
        yield Drift(
            "images",
            "catalogue",
            f"an image of OpenNebula {wanted.version}",
            sight.unbaked,
            "Bake it: `onebaton bake`; or correct image.version or image.channel.",
        )
    source = (
        f"the channel {sight.channel}'s" if sight.channel else f"the newest of {wanted.version}"
    )
    kept = {node.spec.name for node in sight.scene.kept}
    for node in sight.world.nodes:
        if node.spec.name in kept:
            continue
        reason = sight.revoked.get(node.spec.image_digest)
        other = not sight.unbaked and node.spec.image_digest != wanted.digest
        if other or reason is not None:
            revoked = "" if reason is None else f", which was revoked: {reason}"
            yield Drift(
                "images",
                node.spec.name,
                f"{wanted.name}, {source}" if other else "an image that may be used",
                f"{node.spec.image}{revoked}",
                "`onebaton plan` shows the way there, `onebaton rollout` goes it."
                if other
                else "Bake or promote another image, then `onebaton rollout`.",
            )


def terraform(sight: Sight) -> Iterator[Drift]:
    for line in sight.pending:
        yield Drift(
            "terraform",
            "nodes as they are",
            "no change",
            line,
            "The next step of a rollout or of `onebaton replace` that makes or destroys nodes "
            "sets the records right; what it would destroy should be looked at before.",
        )


def configuration(sight: Sight) -> Iterator[Drift]:
    for member, node in sight.own:
        found = sight.configured.get(member.host.name)
        if isinstance(found, Configured):
            yield from _settings(sight, member, found)
            yield from _by_hand(node.spec.name, found)
        elif found is not None and member.facts is not None:
            yield Drift(
                "configuration",
                node.spec.name,
                "files that can be read",
                found,
                "Make the machine answer over ssh, then look again.",
            )
    yield from _between(sight)
    yield from _secrets(sight)


def _settings(sight: Sight, member: Member, found: Configured) -> Iterator[Drift]:
    """Settings that a zone decides about, as they would be written for this server."""
    name, there = member.host.name, dict(found.settings)
    for setting, value in sight.settings.get(member.server.id, {}).items():
        if there.get(setting) != value:
            yield _of_file(name, "oned.conf", setting, value, there.get(setting, "not set"))
    if found.monitor_address != sight.vip.address:
        yield _of_file(
            name,
            "monitord.conf",
            "NETWORK/MONITOR_ADDRESS",
            sight.vip.address,
            found.monitor_address or "not set",
        )


def _of_file(name: str, file: str, setting: str, expected: str, found: str) -> Drift:
    return Drift(
        "configuration",
        f"{name}:/etc/one/{file}",
        f"{setting} = {expected}",
        found,
        f"Set it there and restart opennebula.service, or `onebaton replace {name}`; if what is "
        "there is right, put it into the configuration.",
    )


def _by_hand(name: str, found: Configured) -> Iterator[Drift]:
    """What nobody but the image decides about, against the file that the image brought."""
    now, before = dict(found.statements), dict(found.packaged)
    if not before:
        return
    for statement in sorted(now.keys() | before.keys()):
        if now.get(statement) == before.get(statement):
            continue
        edited = "changed" if statement in before else "added"
        yield Drift(
            "configuration",
            f"{name}:/etc/one/oned.conf",
            f"{statement} as the image brought it",
            f"{edited if statement in now else 'removed'} by hand",
            f"It is lost with the machine: put it into a script of image.scripts and bake, or "
            f"undo it there (the image's file is beside it, as oned.conf.onebaton-dist); "
            f"`onebaton replace {name}` does the same.",
        )


def _between(sight: Sight) -> Iterator[Drift]:
    """Other files, and statements without an image's file to compare with: by the majority."""
    of_image: dict[str, dict[str, Configured]] = {}
    for member, node in sight.own:
        found = sight.configured.get(member.host.name)
        if isinstance(found, Configured):
            of_image.setdefault(node.spec.image_digest, {})[member.host.name] = found
    for machines in of_image.values():
        files = {name: dict(found.files) for name, found in machines.items()}
        for path, groups in differing(files):
            yield from _odd(path, groups, "the same content")
        statements = {n: dict(f.statements) for n, f in machines.items() if not f.packaged}
        for statement, groups in differing(statements):
            yield from _odd("/etc/one/oned.conf", groups, f"the same {statement}")


def _odd(path: str, groups: list[list[str]], same: str) -> Iterator[Drift]:
    """Those that are not as most are; all of them where nobody can say which ones are right."""
    if len(groups[0]) == len(groups[1]):
        yield Drift(
            "configuration",
            path,
            f"{same} everywhere",
            " against ".join(", ".join(names) for names in groups),
            "Decide which one is right: put it into a script of image.scripts and bake, or "
            "`onebaton replace` the other.",
        )
        return
    for names in groups[1:]:
        for name in names:
            yield Drift(
                "configuration",
                f"{name}:{path}",
                f"{same} as on {', '.join(groups[0])}",
                "another content",
                "Decide which one is right: put it into a script of image.scripts and bake, or "
                f"`onebaton replace {name}`.",
            )


def _secrets(sight: Sight) -> Iterator[Drift]:
    leader = sight.world.leader
    right = leader.facts.secret_digest if leader is not None and leader.facts is not None else None
    for member, node in sight.own:
        digest = member.facts.secret_digest if member.facts is not None else right
        if right is not None and digest != right:
            yield Drift(
                "configuration",
                f"{node.spec.name}:/var/lib/one/.one",
                "the leader's secrets",
                "others" if digest is not None else "none",
                f"Copy the leader's there, or `onebaton replace {node.spec.name}`: a server with "
                "other secrets topples leaders.",
            )


def versions(sight: Sight) -> Iterator[Drift]:
    wanted = sight.wanted.image
    for member, node in sight.own:
        name, facts = node.spec.name, member.facts
        installed = facts.package_version if facts is not None else None
        of_wanted = not sight.unbaked and node.spec.image_digest == wanted.digest
        expected = wanted.version if of_wanted else installed
        for what, version in (("installed", installed), ("answers", member.version)):
            if version is None or expected is None:
                continue
            if version_key(version) != version_key(expected):
                yield Drift(
                    "versions",
                    name,
                    f"OpenNebula {expected}",
                    f"{version} {what}",
                    f"Somebody upgraded it in place: `onebaton replace {name}`.",
                )
        schema = facts.schema if facts is not None else None
        right = wanted.schema if of_wanted else sight.scene.schema
        if schema is not None and right not in (None, UNKNOWN_SCHEMA, schema):
            yield Drift(
                "versions",
                name,
                f"database schema {right}",
                str(schema),
                "Find out how that came about before anything else: one database was migrated "
                "by itself.",
            )
