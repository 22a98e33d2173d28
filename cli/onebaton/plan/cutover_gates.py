"""Gates of a cut-over: what was rehearsed, and whether it is what would be carried out."""

from collections.abc import Iterator

from onebaton.plan.actions import CutWay
from onebaton.plan.findings import Finding
from onebaton.plan.gates import Gate, not_older
from onebaton.plan.places import nothing_kept
from onebaton.plan.scene import Scene
from onebaton.plan.versions import version_key
from onebaton.plan.wanted import Rehearsed

#: Ways of cutting over, in words.
WAYS: dict[CutWay, str] = {"stand-by": "with the held stand-by", "plain": "the plain way"}

_UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))


def duration(seconds: float) -> str:
    """A time for people, in the largest unit that fits twice: ``36 hours``, ``90 seconds``."""
    size, unit = next((u for u in _UNITS if seconds >= 2 * u[0]), (1.0, "seconds"))
    return f"{seconds / size:.0f} {unit}"


def one_schema(scene: Scene) -> Iterator[Finding]:
    """All members have the one schema that the copies begin with."""
    for member in scene.world.members:
        if member.facts is None or not scene.counts(member):
            continue
        if member.facts.schema is None:
            yield Finding(
                f"the database schema of {member.server.name} is unknown",
                "onedb version gave no answer there",
                "Run `onedb version -v` on it as oneadmin.",
            )
        elif member.facts.schema != scene.schema:
            yield Finding(
                f"the database of {member.server.name} has another schema than the leader's",
                f"{member.facts.schema}, and the zone's is {scene.schema}",
                "One of both cannot have been read rightly: run `onedb version -v` on both.",
            )


def catalogue_right(scene: Scene) -> Iterator[Finding]:
    """Servers of the wanted image cannot run on the schema that is to be left."""
    if scene.new:
        yield Finding(
            "servers of the wanted image run in the zone, on another schema than it requires",
            f"{', '.join(m.server.name for m in scene.new)}: {scene.schema}, and the catalogue "
            f"says {scene.wanted.image.schema}",
            "What the catalogue says of the image is wrong: bake it again "
            "(`onebaton bake --force`).",
        )


def not_newer(scene: Scene) -> Iterator[Finding]:
    """The vendor's migrators know one direction; versions are compared by another gate."""
    schema, required = scene.schema, scene.wanted.image.schema
    if schema is None or any(True for _ in not_older(scene)):
        return
    if version_key(schema.local) > version_key(required.local):
        yield Finding(
            "the zone's database is newer than the wanted image",
            f"its schema is {schema}, the image requires {required}",
            "OpenNebula knows no way back: bake a release of this schema or later.",
        )


def rehearsed(scene: Scene) -> Iterator[Finding]:
    """This change of the schema was rehearsed, with this image, not long ago."""
    cut, image = scene.wanted.cut, scene.wanted.image
    found = cut.rehearsal
    again = f"Rehearse it: `onebaton rehearse --version {image.version}`."
    if found is None:
        yield Finding(
            f"the change of the schema to {image.schema} was never rehearsed",
            f"the zone's is {scene.schema}, and there is no rehearsal of {image.name}",
            again,
        )
        return
    if found.image_digest != image.digest:
        yield Finding(
            "the rehearsal was of another image",
            f"{found.kept_as}: {found.image_digest}, wanted is {image.digest}",
            again,
        )
    if (found.from_schema, found.to_schema) != (str(scene.schema), str(image.schema)):
        yield Finding(
            "another change of the schema was rehearsed",
            f"{found.kept_as}: {found.from_schema} → {found.to_schema}, to be carried out: "
            f"{scene.schema} → {image.schema}",
            again,
        )
    if found.verdict != "cut-over":
        yield Finding(
            "the image's own onedb says that there is nothing to migrate",
            f"{found.kept_as}: {found.verdict}; the catalogue says {image.schema}, the zone's "
            f"schema is {scene.schema}",
            "What the catalogue says of the image is wrong: bake it again "
            "(`onebaton bake --force`), then rehearse again.",
        )
    if found.age_s > cut.rehearsal_max_age_s:
        yield Finding(
            "the rehearsal is too old",
            f"{found.kept_as}: {duration(found.age_s)} ago, allowed are "
            f"{duration(cut.rehearsal_max_age_s)}",
            again,
        )


def losses_accepted(scene: Scene) -> Iterator[Finding]:
    """A migrator drops rows without a word (measured note): each table is accepted by name."""
    cut = scene.wanted.cut
    if cut.rehearsal is None:
        return
    for table, rows in sorted(cut.rehearsal.losses.items()):
        if table not in cut.accepted:
            yield Finding(
                f"the migration loses rows of {table}",
                f"{rows} in the rehearsal ({cut.rehearsal.kept_as})",
                "Save what is needed of them by other means; to go on without them: "
                f"--accept-loss {table}.",
            )


def way_possible(scene: Scene) -> Iterator[Finding]:
    """The held stand-by is for migrators that were proven to work row by row."""
    cut = scene.wanted.cut
    if cut.way == "stand-by" and cut.rehearsal is not None and not cut.rehearsal.ahead_proven:
        yield Finding(
            "a copy migrated ahead was not proven equal to one migrated whole",
            "; ".join(cut.rehearsal.doubts) or f"not tried in {cut.rehearsal.kept_as}",
            "Choose the plain way (`--cut plain`), or let the rehearsal decide (`--cut auto`).",
        )


def short_enough(scene: Scene) -> Iterator[Finding]:
    """The time without writes stays within what is allowed."""
    cut = scene.wanted.cut
    if cut.max_outage_s is None or cut.rehearsal is None:
        return
    forecast_s = cut.rehearsal.forecast_s.get(scene.way)
    if forecast_s is None:
        yield Finding(
            "how long the zone would be without writes is unknown",
            f"{cut.rehearsal.kept_as} has no forecast {WAYS[scene.way]}, and "
            f"rollout.max_outage_s is {cut.max_outage_s:g}",
            f"Rehearse it again: `onebaton rehearse --version {scene.wanted.image.version}`.",
        )
    elif forecast_s > cut.max_outage_s:
        yield Finding(
            "the zone would be without writes for longer than is allowed",
            f"{forecast_s:.1f} s {WAYS[scene.way]}, and rollout.max_outage_s is "
            f"{cut.max_outage_s:g}",
            _shorter(scene, cut.rehearsal, cut.max_outage_s),
        )


def _shorter(scene: Scene, found: Rehearsed, allowed_s: float) -> str:
    held_s = found.forecast_s.get("stand-by")
    if scene.way == "plain" and found.ahead_proven and held_s is not None and held_s <= allowed_s:
        return f"The held stand-by takes {held_s:.1f} s: `--cut stand-by`."
    return "Raise rollout.max_outage_s if that time can be borne."


def copies_in_window(scene: Scene) -> Iterator[Finding]:
    """While a copy is migrated its warm one stands still, and the log goes on."""
    settings, limits, found = scene.world.settings, scene.wanted.limits, scene.wanted.cut.rehearsal
    if settings is None or found is None or scene.way == "plain":
        return
    if all(scene.is_prepared(spec) for spec in scene.targets):
        return
    budget = limits.log_window_share * settings.log_retention
    rate = scene.world.records_per_second
    # The plain way's forecast is mostly the migration of the whole database.
    taken_s = limits.expected_seed_s + found.forecast_s.get("plain", 0.0)
    if rate * limits.expected_seed_s < budget <= rate * taken_s:
        yield Finding(
            "the log may outrun the copies while they are migrated",
            f"{rate:.1f} records/s for {taken_s:.0f} s are {rate * taken_s:.0f}, and "
            f"LOG_RETENTION {settings.log_retention} leaves {budget:.0f}",
            "Prepare when there is less to write, raise LOG_RETENTION, or choose the plain way "
            "(`--cut plain`).",
        )


CUT_GATES: tuple[Gate, ...] = (
    nothing_kept,
    one_schema,
    catalogue_right,
    not_newer,
    rehearsed,
    losses_accepted,
    way_possible,
    short_enough,
    copies_in_window,
)
