"""What a cut-over is refused for, and what it is not refused for."""

from dataclasses import replace

import pytest
from tests.fakes.wanting import NEXT_SCHEMA
from tests.fakes.worlds import Lab, image, next_release, wanted, zone

from onebaton.errors import RefusedError
from onebaton.model import Schema
from onebaton.plan.cutover_gates import duration
from onebaton.plan.roll import plan_roll


def reasons(lab: Lab) -> list[str]:
    with pytest.raises(RefusedError) as refusal:
        plan_roll(lab.wanted, lab.observe())
    return list(refusal.value.details)


def only_reason(lab: Lab) -> str:
    (reason,) = reasons(lab)
    return reason


def lab_of(*, way="auto", accepted=frozenset(), max_outage_s=None, **rehearsal: object) -> Lab:
    goal = next_release(3, way=way, **rehearsal)
    return zone(replace(goal, cut=replace(goal.cut, accepted=accepted, max_outage_s=max_outage_s)))


def passes(lab: Lab) -> bool:
    return bool(plan_roll(lab.wanted, lab.observe()).actions)


def test_a_rehearsed_change_passes():
    assert passes(lab_of())


def test_a_rehearsal_of_another_image():
    assert "the rehearsal was of another image: rehearsals/1.json: sha256:old" in only_reason(
        lab_of(image_digest="sha256:old")
    )


@pytest.mark.parametrize("change", [{"from_schema": "6.8.0"}, {"to_schema": "7.2.0"}])
def test_a_rehearsal_of_another_change(change):
    found = only_reason(lab_of(**change))
    assert found.startswith("another change of the schema was rehearsed")
    assert "to be carried out: 6.10.0 → 7.0.0" in found


def test_a_rehearsal_that_found_nothing_to_migrate():
    assert only_reason(lab_of(verdict="roll")).startswith(
        "the image's own onedb says that there is nothing to migrate: rehearsals/1.json: roll;"
    )


def test_a_rehearsal_that_is_too_old():
    assert passes(lab_of(age_s=7 * 86400.0))
    assert only_reason(lab_of(age_s=8.4 * 86400)).startswith(
        "the rehearsal is too old: rehearsals/1.json: 8 days ago, allowed are 7 days."
    )


def test_losses_are_accepted_table_by_table():
    losses = {"document_pool": "2099 → 0", "hook_log": "3 → 0"}
    found = reasons(lab_of(losses=losses))
    assert [reason.split(":")[0] for reason in found] == [
        "the migration loses rows of document_pool",
        "the migration loses rows of hook_log",
    ]
    assert "2099 → 0 in the rehearsal" in found[0]
    assert found[0].endswith("--accept-loss document_pool.")
    one = lab_of(losses=losses, accepted=frozenset({"document_pool"}))
    assert "hook_log" in only_reason(one)
    assert passes(lab_of(losses=losses, accepted=frozenset(losses)))


def test_the_stand_by_is_asked_for_and_not_proven():
    found = only_reason(lab_of(way="stand-by", ahead_proven=False, doubts=("vm_pool differs",)))
    assert found.startswith(
        "a copy migrated ahead was not proven equal to one migrated whole: vm_pool differs."
    )
    assert "`--cut plain`" in found


def test_the_forecast_of_the_way_that_is_taken_counts():
    assert passes(lab_of(max_outage_s=3.0))
    assert "2.6 s with the held stand-by, and rollout.max_outage_s is 2" in only_reason(
        lab_of(max_outage_s=2.0)
    )
    found = only_reason(lab_of(way="plain", max_outage_s=3.0))
    assert "14.9 s the plain way" in found
    assert found.endswith("The held stand-by takes 2.6 s: `--cut stand-by`.")
    found = only_reason(lab_of(ahead_proven=False, max_outage_s=3.0))
    assert found.endswith("Raise rollout.max_outage_s if that time can be borne.")


def test_without_a_forecast_nothing_is_promised():
    assert passes(lab_of(forecast_s={}))
    assert only_reason(lab_of(forecast_s={}, max_outage_s=60.0)).startswith(
        "how long the zone would be without writes is unknown"
    )


def test_a_database_that_is_newer_than_the_image_of_the_same_version():
    """The number of the release alone decides nothing."""
    lab = lab_of()
    old = Schema("5.0.0", "5.0.0")
    rebuilt = replace(image("6.10.0", schema=old), digest="sha256:rebuilt")
    lab.wanted = replace(lab.wanted, image=rebuilt)
    found = reasons(lab)
    assert found[0].startswith(
        "the zone's database is newer than the wanted image: its schema is 6.10.0, the image "
        "requires 5.0.0."
    )


def test_an_image_that_is_older_than_the_zone_is_named_once():
    lab = zone(wanted(3, of=image("6.4.0", schema=Schema("6.4.0", "6.4.0"))))
    found = [reason.split(":")[0] for reason in reasons(lab)]
    assert found == [
        "the wanted image is older than the zone",
        "the change of the schema to 6.4.0 was never rehearsed",
    ]


def test_a_federated_zone():
    lab = lab_of()
    lab.settings = replace(lab.settings, federation_mode="MASTER")
    assert "the zone is federated" in only_reason(lab)


def test_the_ordinary_gates_of_health_count():
    lab = lab_of()
    lab.named("z-a2").oned = False
    lab.named("z-a3").vip = True
    lab.enabled = False
    assert [reason.split(":")[0] for reason in reasons(lab)] == [
        "the zone is disabled",
        "server 1 (z-a2) is unhealthy",
        "more than one machine holds the virtual IP",
    ]


def test_a_server_put_away_by_somebody_is_not_taken_for_a_step_of_ours():
    lab = zone(next_release(2, "one-by-one"), 3)
    lab.named("z-a2").put_away()
    assert "server 1 (z-a2) is unhealthy" in only_reason(lab)


def test_steering_is_no_matter_of_a_cut_over():
    lab = lab_of()
    limits = replace(lab.wanted.limits, steered_election_timeout_ms=5000)
    lab.wanted = replace(lab.wanted, limits=limits)
    assert passes(lab)


def test_members_of_several_schemas():
    lab = lab_of()
    lab.named("z-a2").schema = None
    lab.named("z-a3").schema = Schema("6.8.0", "6.8.0")
    found = reasons(lab)
    assert found[0].startswith("the database schema of z-a2 is unknown")
    assert found[1].startswith(
        "the database of z-a3 has another schema than the leader's: 6.8.0, and the zone's is 6.10.0"
    )


def test_servers_of_the_wanted_image_on_the_old_schema():
    lab = zone(next_release(3), version="7.0.2")
    assert any(
        reason.startswith("servers of the wanted image run in the zone, on another schema")
        for reason in reasons(lab)
    )


def test_the_log_goes_on_while_copies_are_migrated():
    """125,000 records may pass: enough for a seed, and not for an hour of migration."""
    lab = lab_of(forecast_s={"stand-by": 2.6, "plain": 3600.0})
    lab.records_per_second = 100.0
    assert only_reason(lab).startswith(
        "the log may outrun the copies while they are migrated: 100.0 records/s for 3660 s"
    )
    lab.wanted = replace(lab.wanted, cut=replace(lab.wanted.cut, way="plain"))
    assert passes(lab)


def test_another_cut_over_before_the_last_one_is_final():
    lab = lab_of()
    while plan := plan_roll(lab.wanted, lab.observe()).actions:
        lab.do(plan[0])
    later = Schema("7.2.0", "7.2.0")
    goal = next_release(3, from_schema="7.0.0", to_schema="7.2.0", image_digest="sha256:7.2.0")
    lab.wanted = replace(goal, image=image("7.2.0", schema=later))
    assert only_reason(lab) == (
        "the generation that the last cut-over left is still kept: z-a1, z-a2, z-a3. "
        "Make the cut-over final (`onebaton finalize`), or take it back (`onebaton rollback`)."
    )


def test_the_same_schema_asks_for_no_rehearsal():
    lab = zone(wanted(3, of=image("7.0.5", schema=NEXT_SCHEMA)), version="7.0.2")
    for machine in lab.machines.values():
        machine.schema = NEXT_SCHEMA
    assert passes(lab)


def test_durations_are_told_in_the_largest_unit_that_fits():
    assert [duration(s) for s in (5, 90, 150, 3 * 3600, 36 * 3600, 86400 * 7)] == [
        "5 seconds",
        "90 seconds",
        "2 minutes",
        "3 hours",
        "36 hours",
        "7 days",
    ]
