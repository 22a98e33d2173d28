"""What a rehearsal concludes from what was seen on a copy."""

from dataclasses import replace

import pytest

from onebaton.migration import AheadProof, Contents
from onebaton.model import Schema
from onebaton.plan import rehearsal
from onebaton.plan.rehearsal import Prospects, Verdict
from onebaton.plan.wanted import CutWish

FILES = (
    "local/6.10.0_to_7.0.0.rb",
    "local/6.8.0_to_6.10.0.rb",
    "local/7.0.0_to_7.2.0.rb",
    "shared/6.10.0_to_7.0.0.rb",
    "shared/7.0.0_to_7.2.0.rbm",
)


def contents(**tables: tuple[int, int | None]) -> Contents:
    """Tables with their number of rows and checksum."""
    return Contents(
        {name: rows for name, (rows, _) in tables.items()},
        {name: checksum for name, (_, checksum) in tables.items()},
        dict.fromkeys(tables, ("oid int(11) NO",)),
    )


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (0, Verdict.ROLL),
        (1, Verdict.BROKEN),
        (2, Verdict.CUT_OVER),
        (3, Verdict.REFUSE),
        (127, Verdict.BROKEN),
        (255, Verdict.BROKEN),
    ],
)
def test_the_oracle_decides_and_what_it_does_not_know_is_broken(status, meaning):
    assert rehearsal.verdict(status) is meaning


def test_migrators_follow_one_another_shared_tables_first():
    assert rehearsal.migrators(FILES, Schema("6.10.0", "6.10.0")) == (
        "shared/6.10.0_to_7.0.0.rb",
        "shared/7.0.0_to_7.2.0.rbm",
        "local/6.10.0_to_7.0.0.rb",
        "local/7.0.0_to_7.2.0.rb",
    )


def test_shared_and_local_tables_may_stand_at_different_versions():
    assert rehearsal.migrators(FILES, Schema("7.2.0", "7.0.0")) == ("local/7.0.0_to_7.2.0.rb",)


def test_the_plain_form_of_a_migrator_counts_before_the_compiled_one():
    files = ("local/1.0.0_to_2.0.0.rbm", "local/1.0.0_to_2.0.0.rb")
    assert rehearsal.migrators(files, Schema("1.0.0", "1.0.0")) == ("local/1.0.0_to_2.0.0.rb",)


def test_migrators_that_lead_back_end():
    files = ("local/1.0_to_2.0.rb", "local/2.0_to_1.0.rb")
    assert len(rehearsal.migrators(files, Schema("1.0", "1.0"))) == 2


def test_tables_are_told_apart_by_what_the_migration_did_to_them():
    before = contents(
        same=(3, 7), touched=(3, 7), shorter=(40, 1), grown=(1, 1), dropped=(2, 2), empty=(0, 0)
    )
    after = contents(same=(3, 7), touched=(3, 8), shorter=(0, 0), grown=(2, 9), made=(1, 1))

    changes = rehearsal.compare(before, after)

    assert {(t.name, t.before, t.after, t.change) for t in changes} == {
        ("same", 3, 3, "left alone"),
        ("touched", 3, 3, "changed"),
        ("shorter", 40, 0, "lost rows"),
        ("grown", 1, 2, "changed"),
        ("dropped", 2, None, "lost rows"),
        ("empty", 0, None, "gone"),
        ("made", None, 1, "new"),
    }
    assert [t.name for t in changes if t.lost] == ["dropped", "shorter"]


def test_a_column_that_is_null_everywhere_is_a_change_too():
    before = contents(vm_pool=(3, 7))
    shape = (*before.shapes["vm_pool"], "resched int(11) YES")
    after = replace(before, shapes={"vm_pool": shape})
    assert [t.change for t in rehearsal.compare(before, after)] == ["changed"]


def test_each_loss_is_named_with_its_counts_unless_it_was_accepted():
    before = contents(document_pool=(40, 1), vm_import=(2, 2), user_pool=(2, 2))
    after = contents(document_pool=(0, 0), user_pool=(2, 2))
    changes = rehearsal.compare(before, after)

    found = [str(finding) for finding in rehearsal.losses(changes, {"vm_import"})]

    assert len(found) == 1
    assert "document_pool: 40 → 0" in found[0]
    assert "--accept-loss document_pool" in found[0]
    assert rehearsal.losses(changes, {"vm_import", "document_pool"}) == ()


def test_a_loss_accepted_in_vain_is_said():
    changes = rehearsal.compare(contents(a=(1, 1), b=(2, 2)), contents(a=(1, 1), b=(1, 1)))
    assert rehearsal.needless(changes, {"b"}) == ()
    (note,) = rehearsal.needless(changes, {"b", "documents_pool"})
    assert "documents_pool" in note


def test_a_pool_that_answers_less_than_its_table_holds_is_said():
    assert (
        rehearsal.unanswered({"vm_pool": 5, "acl": 2, "logdb": 9}, {"vm_pool": 5, "acl": 2}) == ()
    )
    (note,) = rehearsal.unanswered({"vm_pool": 5}, {"vm_pool": 4})
    assert "5" in note
    assert "4" in note


def test_files_are_named_and_their_digests_are_not():
    before = {"one_auth": "aaa", "old": "bbb", "sunstone_auth": "ccc"}
    after = {"one_auth": "aaa", "form_auth": "ddd", "sunstone_auth": "eee"}
    assert rehearsal.changed_files(before, after) == (
        "form_auth: new",
        "old: removed",
        "sunstone_auth: changed",
    )


@pytest.mark.parametrize(("held", "is_refused"), [(0, True), (2 << 30, False)])
def test_room_is_needed_for_seed_copy_and_migrator(held, is_refused):
    size = 1 << 30
    free = rehearsal.bytes_needed(size) - size - 1
    found = [*rehearsal.room("z-b1", free=free, held=held, database_bytes=size)]
    assert bool(found) is is_refused
    for finding in found:
        assert "z-b1" in finding.what
        assert "4352 MiB needed for a database of 1024 MiB" in finding.evidence


def test_the_forecast_adds_what_was_measured_to_what_is_known():
    parts = rehearsal.plain_way(upgrade_s=12.5, start_s=5.5)
    measured = [part.seconds for part in parts if part.source == "measured in this rehearsal"]
    known = [part.seconds for part in parts if "not here" in part.source]
    assert measured == [12.5, 5.5]
    assert len(known) == 4
    assert sum(part.seconds for part in parts) == pytest.approx(18.0 + sum(known))


def test_the_forecast_with_the_held_stand_by_does_not_know_the_size():
    parts = rehearsal.ahead_way(records_s=0.25, batch_s=1.5, steered_s=1.0)
    measured = [part.seconds for part in parts if part.source == "measured in this rehearsal"]
    assert measured == [0.25, 1.5]
    # What was seen on a real zone: 2.1 s and 2.7 s, with 0.7 s of records and batch.
    rest = sum(part.seconds for part in parts if "not here" in part.source)
    assert rest + 0.7 == pytest.approx(2.7)
    slow = rehearsal.ahead_way(records_s=0.25, batch_s=1.5, steered_s=4.0)
    assert sum(p.seconds for p in slow) == pytest.approx(sum(p.seconds for p in parts) + 3.0)


def test_each_table_that_differs_is_a_doubt():
    equal = AheadProof(True, (), (), {}, 1.5, 1.2)
    assert rehearsal.doubts(equal) == ()
    found = rehearsal.doubts(replace(equal, equal=False, differing=("acl: contents", "vm_pool")))
    assert len(found) == 2
    assert "acl: contents" in found[0]
    assert len(rehearsal.doubts(replace(equal, equal=False))) == 1


PROVEN = Prospects(True, (), 2.9, 80.0)
DOUBTED = Prospects(False, ("acl differs",), 2.9, 80.0)


@pytest.mark.parametrize(
    ("wish", "found", "way", "said"),
    [
        ("auto", PROVEN, "stand-by", "2.9 s"),
        ("auto", DOUBTED, "plain", "acl differs: 80.0 s"),
        ("stand-by", PROVEN, "stand-by", "equal"),
        ("stand-by", DOUBTED, None, "acl differs"),
        ("plain", PROVEN, "plain", "asked for: 80.0 s"),
        ("plain", DOUBTED, "plain", "asked for"),
        ("auto", Prospects(False, (), None, None), "plain", "no copy was migrated ahead"),
    ],
)
def test_the_way_follows_from_what_is_asked_for_and_what_was_proved(wish, found, way, said):
    chosen, why = rehearsal.way_ahead(CutWish(way=wish), found)
    assert chosen == way
    assert said in why


@pytest.mark.parametrize(
    ("wish", "found", "allowed_s", "way"),
    [
        ("auto", PROVEN, 3.0, "stand-by"),
        ("auto", PROVEN, 2.5, None),
        ("plain", PROVEN, 3.0, None),
        ("auto", DOUBTED, 3.0, None),
        ("auto", DOUBTED, 90.0, "plain"),
    ],
)
def test_a_way_that_takes_longer_than_is_allowed_is_none(wish, found, allowed_s, way):
    chosen, why = rehearsal.way_ahead(CutWish(way=wish, max_outage_s=allowed_s), found)
    assert chosen == way
    assert ("max_outage_s" in why) == (way is None)
