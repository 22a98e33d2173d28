"""Plans that are reviewed: made as a file and a comment, and carried out as they were made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onebaton.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from onebaton.adapters.planfile import PlanFile
    from onebaton.errors import OnebatonError
    from onebaton.model import Image, Secret, World
    from onebaton.plan.actions import Action, Plan
    from onebaton.plan.artefact import Artefact
    from onebaton.plan.staleness import Around
    from onebaton.rollout.guard import PlanGuard
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options
    from onebaton.wiring.planning import Surveyed

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Paper:
    """What ``plan`` writes besides showing.

    :param out: file of the plan.
    :param markdown: file of the comment.
    :param sign_key: ``env:NAME``, ``file:PATH`` or a path: where the private key is.
    """

    out: Path | None = None
    markdown: Path | None = None
    sign_key: str | None = None


def write_down(cluster: Cluster, world: World, found: Surveyed, paper: Paper) -> str:
    """Write the plan and its comment.

    :returns: the comment.
    """
    from onebaton.adapters import planfile

    key = _private_key(cluster, paper.sign_key)
    artefact = _artefact(cluster, world, found)
    text = _comment(cluster, artefact, paper)
    if paper.out is not None:
        digest = planfile.write(paper.out, artefact, key)
        cluster.reporter.note(f"wrote the plan {paper.out}, {digest}")
    if paper.markdown is not None:
        planfile.write_text(paper.markdown, text)
    return text


def write_refusal(cluster: Cluster, error: OnebatonError, paper: Paper) -> None:
    """Write the comment that there is no plan: an older one would be taken for it."""
    from onebaton.adapters import planfile
    from onebaton.adapters.templates import Templates
    from onebaton.plan.comment import fitting, marker, refusal

    if paper.markdown is None:
        return
    zone = cluster.config.zone.name

    def render(limit: int) -> str:
        variables = {"c": refusal(zone, error, limit=limit), "marker": marker(zone)}
        return Templates().render("comments/refused.md.j2", variables)

    planfile.write_text(paper.markdown, fitting(render))


def _artefact(cluster: Cluster, world: World, found: Surveyed) -> Artefact:
    from onebaton import __version__
    from onebaton.plan.artefact import Asked
    from onebaton.plan.composing import Circumstances, compose
    from onebaton.plan.diagnosis import diagnose

    options, config = cluster.options, cluster.config
    checkup = found.checkup
    given = Circumstances(
        onebaton=__version__,
        asked=Asked(options.version, options.cut, tuple(sorted(options.accepted))),
        settings=_settings(cluster),
        channel=config.image.channel,
        platform=cluster.platform.kind,
        state=found.state,
        preview=found.preview,
        findings=diagnose(cluster.wanted, world, checkup, config.zone.vip.to_model(), baked=True)
        if checkup is not None
        else (),
        created_at=cluster.clock.now(),
        valid_s=config.plans.max_age_hours * HOUR_S,
    )
    return compose(cluster.wanted, world, found.plan, given)


def _comment(cluster: Cluster, artefact: Artefact, paper: Paper) -> str:
    """The longest comment that is short enough."""
    from onebaton.adapters.templates import Templates
    from onebaton.plan.comment import comment, fitting, marker

    options = cluster.options
    carried_out = replace(options, plan=paper.out) if paper.out is not None else options
    cuts = artefact.cut_way is not None
    back = (
        "`onebaton rollback` brings the old generation back, and says first what it would lose",
        "`onebaton finalize` gives it up",
    )
    kept = ("killed or stopped at any moment, the same command goes on",)
    give_up = ("before the hand-over, `onebaton abort` goes back to the old generation",)

    def render(limit: int) -> str:
        shown = comment(
            artefact,
            commands=[carried_out.again("rollout")],
            ways_back=(*kept, *(back if cuts else give_up)),
            limit=limit,
        )
        variables = {"c": shown, "marker": marker(artefact.zone)}
        return Templates().render("comments/plan.md.j2", variables)

    return fitting(render)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A plan that is to be carried out.

    :param options: as the plan says.
    """

    file: PlanFile
    options: Options

    def guarded(self, cluster: Cluster, world: World) -> PlanGuard:
        """The guard of this run, which found that the plan may be carried out.

        :raises RefusedError: if it may not.
        """
        from onebaton.plan.artefact import essence
        from onebaton.rollout.guard import PlanGuard
        from onebaton.rollout.planuse import PlanUses

        artefact, plans = self.file.artefact, cluster.config.plans
        signer = self.file.require_trusted(plans.public_keys, required=plans.require_signature)
        if signer is not None:
            cluster.reporter.note(f"the plan is signed by {signer}")
        elif self.file.signatures:
            cluster.reporter.warn(
                "the plan's signature is not looked at: plans.public_keys is empty"
            )
        if artefact.zone != cluster.config.zone.name:
            raise RefusedError(
                f"the plan is of the zone {artefact.zone}, and the configuration of "
                f"{cluster.config.zone.name}",
                resolution="Name the configuration that the plan was made with.",
            )
        guard = PlanGuard(
            artefact,
            PlanUses(cluster.store, self.file.digest),
            lambda: around(cluster, artefact),
            cluster.clock,
            f"{replace(self.options, plan=None).again('plan')} --out {self.options.plan}",
        )
        guard.begin(world)
        short = essence(artefact).removeprefix("sha256:")[:12]
        cluster.reporter.note(f"carrying the plan {short} out, {len(artefact.steps)} steps")
        return guard


class FreeHand:
    """A rollout without a plan: it decides by itself. In the place of a guard."""

    def decided(self, _world: World, plan: Plan) -> Plan:
        """Whatever is planned."""
        return plan

    def take(self, _run: str) -> None:
        """Nothing is used up."""

    def seen(self, _world: World) -> None:
        """Whatever is seen."""

    def before(self, _action: Action) -> None:
        """Whatever is done."""

    def finished(self) -> None:
        """Nothing was used up."""


def reviewed(options: Options) -> Reviewed | None:
    """The plan that a rollout is to carry out; ``None`` if it was not given one.

    :raises UnreadableError: if it cannot be read.
    :raises RefusedError: if it was tampered with.
    :raises UsageError: if something else was asked for as well.
    """
    from onebaton.adapters import planfile

    if options.plan is None:
        return None
    file = planfile.read(options.plan)
    asked = file.artefact.asked
    said = {
        "--version": options.version not in (None, asked.version),
        "--cut": options.cut not in (None, asked.cut),
        "--accept-loss": bool(options.accepted) and set(options.accepted) != set(asked.accepted),
    }
    if any(said.values()):
        words = ", ".join(word for word, differs in said.items() if differs)
        raise UsageError(
            f"the plan {options.plan} says something else than {words}",
            resolution="Leave that out: the plan says it. Or make another plan.",
        )
    as_planned = replace(
        options,
        version=asked.version,
        cut=asked.cut,
        accepted=asked.accepted,
        image_digest=file.artefact.image.digest,
    )
    return Reviewed(file, as_planned)


def guard_of(found: Reviewed | None, cluster: Cluster, world: World) -> PlanGuard | FreeHand:
    """Who watches a rollout.

    :raises RefusedError: if only signed plans are carried out, and this is none.
    """
    if found is not None:
        return found.guarded(cluster, world)
    if cluster.config.plans.require_signature:
        raise RefusedError(
            "only signed plans are carried out: plans.require_signature is set",
            resolution="Make a plan (`onebaton plan --out FILE --sign-key KEY`), then: "
            "onebaton rollout --plan FILE",
        )
    return FreeHand()


def around(cluster: Cluster, artefact: Artefact) -> Around:
    """What a plan was decided on beside the zone, looked at anew."""
    from onebaton import __version__
    from onebaton.plan.staleness import Around
    from onebaton.rollout.rehearsals import newest

    wanted = artefact.image
    image: Image | None = cluster.catalogue.by_digest(wanted.digest)
    standing = cluster.standing
    held = standing.channel(wanted.channel) if wanted.channel is not None else None
    revoked = standing.revoked().get(wanted.digest)
    needs = image is not None and artefact.rehearsal is not None
    found = newest(cluster.store, image, cluster.clock.now()) if image and needs else None
    return Around(
        onebaton=__version__,
        settings=_settings(cluster),
        known=image is not None,
        revoked=revoked.reason if revoked is not None else "",
        channel_digest=held.digest if held is not None else None,
        rehearsal=found.digest if found is not None else "",
        state=cluster.platform.recorded(),
    )


def _settings(cluster: Cluster) -> dict[str, str]:
    """Of the file as it is now: it may be written anew while a rollout runs."""
    from onebaton.adapters.configfile import load
    from onebaton.plan.configured import settings_of

    options = cluster.options
    config = load(options.config, version=options.version, state=options.state)
    return settings_of(config, options.config.absolute().parent)


def _private_key(cluster: Cluster, text: str | None) -> Secret | None:
    """The key that a plan is signed with."""
    from pathlib import Path

    from onebaton.adapters.secrets import keep_from_programs, resolve_whole
    from onebaton.config import SecretSource

    if text is None:
        return None
    kind, colon, rest = text.partition(":")
    if colon and kind == "env" and rest:
        source = SecretSource(env=rest)
    else:
        path = rest if colon and kind == "file" else text
        source = SecretSource(file=Path(path).expanduser().absolute())
    keep_from_programs(source)
    return resolve_whole(source, key="--sign-key", reporter=cluster.reporter)
