"""Reports of rehearsals come back as what a cut-over is planned on."""

import json
from dataclasses import asdict, replace

import pytest
from tests.fakes.store import MemoryStore
from tests.fakes.worlds import image

from onebaton.errors import UnreadableError
from onebaton.model import Image, Schema
from onebaton.rollout.rehearsals import keep, key_of, newest
from onebaton.views import RehearsalView, TableRow

NEXT = image("7.0.2", schema=Schema("7.0.0", "7.0.0"))


def view(*, of: Image = NEXT, began_at: float = 100.0) -> RehearsalView:
    return RehearsalView(
        title="rehearsal",
        verdict="cut-over",
        version=of.version,
        image=of.name,
        image_digest=of.digest,
        from_schema="6.10.0",
        to_schema=str(of.schema),
        log_index=4711,
        began_at=began_at,
        source="z-a2",
        node="z-b1",
        migrators=("local/6.10.0_to_7.0.0.rb",),
        tables=(
            TableRow("document_pool", 40, 0, "lost rows", accepted=True),
            TableRow("group_pool", 2, 2, "left alone"),
            TableRow("logdb", 90, 90, "left alone"),
            TableRow("vm_import", 3, None, "lost rows"),
            TableRow("vm_pool", 9, 9, "changed"),
        ),
        forecast_s=80.0,
        ahead_proven=True,
        forecast_ahead_s=2.9,
        kept_as="state/rehearsals/x.json",
    )


def stored(**reports: RehearsalView) -> MemoryStore:
    store = MemoryStore()
    for run, report in reports.items():
        keep(store, key_of(f"{run}-{report.version}"), report)
    return store


def test_what_was_found_is_what_is_planned_on():
    found = newest(stored(r1=view()), NEXT, now=160.0)
    assert found is not None
    assert found.age_s == 60.0
    assert found.losses == {"document_pool": "40 → 0", "vm_import": "3 → 0"}
    assert found.forecast_s == {"plain": 80.0, "stand-by": 2.9}
    assert found.ahead_proven
    assert (found.from_schema, found.to_schema) == ("6.10.0", str(NEXT.schema))
    assert found.migrators == ("local/6.10.0_to_7.0.0.rb",)


def test_rows_of_pools_always_go_through_the_migrator():
    found = newest(stored(r1=view()), NEXT, now=160.0)
    assert found is not None
    assert found.left_alone == {"logdb"}


def test_the_newest_counts():
    later = replace(view(began_at=150.0), ahead_proven=False, doubts=("acl differs",))
    found = newest(stored(r1=view(), r2=later), NEXT, now=160.0)
    assert found is not None
    assert (found.age_s, found.ahead_proven, found.doubts) == (10.0, False, ("acl differs",))


@pytest.mark.parametrize(
    "other",
    [
        view(of=replace(NEXT, digest="sha256:another")),
        view(of=image("7.0.3", schema=NEXT.schema)),
        view(of=replace(NEXT, schema=Schema("7.0.0", "7.2.0"))),
    ],
)
def test_one_of_another_image_says_nothing(other):
    assert newest(stored(r1=other), NEXT, now=160.0) is None
    # And hides no earlier one that does.
    assert newest(stored(r1=view(), r2=other), NEXT, now=160.0) is not None


def test_one_from_before_copies_were_migrated_ahead_proves_nothing():
    report = asdict(view())
    for name in ("ahead_proven", "doubts", "stamps", "forecast_ahead", "forecast_ahead_s", "way"):
        del report[name]
    store = MemoryStore()
    store.write(key_of("r1-7.0.2"), json.dumps(report).encode())
    found = newest(store, NEXT, now=160.0)
    assert found is not None
    assert not found.ahead_proven
    assert found.forecast_s == {"plain": 80.0}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"title": 1}'])
def test_what_cannot_be_read_is_said_and_named(content):
    store = stored(r1=view())
    store.write(key_of("r2-7.0.2"), content)
    with pytest.raises(UnreadableError) as caught:
        newest(store, NEXT, now=160.0)
    assert key_of("r2-7.0.2") in caught.value.message
    # One of another version is nobody's business here.
    assert newest(store, image("6.10.5"), now=160.0) is None


def test_what_was_measured_in_a_clone_counts_for_more_than_what_was_added_up():
    measured = replace(view(), clone="try", measured_s=3.4, way="stand-by")
    found = newest(stored(r1=measured), NEXT, now=160.0)
    assert found is not None
    assert found.forecast_s == {"plain": 80.0, "stand-by": 3.4}
    assert (found.clone, found.measured_s) == ("try", 3.4)
