"""What an operator and a program are shown of a rehearsal."""

import io
import json
from dataclasses import replace

import pytest

from onebaton.ui import output, tables
from onebaton.views import PartRow, RehearsalView, TableRow

VIEW = RehearsalView(
    title="rehearsal of zone z on OpenNebula 7.0.2",
    verdict="cut-over",
    version="7.0.2",
    image="onebaton/z:7.0.2",
    image_digest="sha256:7",
    from_schema="6.10.0",
    to_schema="7.0.0",
    log_index=4711,
    began_at=1.0,
    source="z-a2",
    node="z-b1",
    migrators=("local/6.10.0_to_7.0.0.rb",),
    tables=(
        TableRow("document_pool", 40, 0, "lost rows"),
        TableRow("vm_import", 2, None, "lost rows", accepted=True),
        TableRow("user_pool", 7, 7, "left alone"),
    ),
    files=("sunstone_auth: new",),
    pools=(("user_pool", 7),),
    parts=(PartRow("onedb upgrade of the copy", 41.96),),
    database_bytes=3 * 1024 * 1024,
    peak_rss_bytes=512 * 1024 * 1024,
    fsck_errors=0,
    forecast=(PartRow("onedb upgrade of the whole database", 41.96, "measured in this rehearsal"),),
    forecast_s=42.0,
    ahead_proven=True,
    stamps=("db_versioning: times of the migration",),
    brought_over=(("user_pool", 3), ("vm_pool", 0)),
    batch_s=1.61,
    forecast_ahead=(PartRow("the last log records", 0.25, "measured in this rehearsal"),),
    forecast_ahead_s=2.9,
    way="stand-by",
    why_this_way="the held stand-by, because of this",
    refusals=("the migration loses rows of document_pool: 40 → 0.",),
    notes=("a note",),
    kept_as="state/rehearsals/x.json",
)


def shown(view: RehearsalView) -> str:
    stream = io.StringIO()
    tables.show(view, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "schema 6.10.0 → 7.0.0, on a copy of z-a2 at log index 4711",
        "local/6.10.0_to_7.0.0.rb",
        "1 of 3 tables are left alone",
        "sunstone_auth: new",
        "user_pool 7",
        "3.0 MiB",
        "512.0 MiB",
        "42.0 s without writes",
        "40 → 0",
        "then brought over in batches: user_pool 3",
        "compared with those migrated whole: all 3 tables; the last batch took 1.6 s",
        "not compared: db_versioning: times of the migration",
        "migrated ahead: equal",
        "2.9 s without writes",
        "a rollout will take: the held stand-by, because of this",
        "a note",
        "state/rehearsals/x.json",
    ],
)
def test_every_finding_is_shown(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert text in shown(VIEW)


def test_losses_stand_in_rows_and_what_is_left_alone_does_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = {line.split()[0]: line for line in shown(VIEW).splitlines() if line.strip()}
    assert "40" in rows["document_pool"]
    assert "accepted" not in rows["document_pool"]
    assert "accepted" in rows["vm_import"]
    assert "user_pool" not in rows


def test_doubts_are_shown_and_a_way_that_is_refused_is_none():
    doubted = replace(
        VIEW, ahead_proven=False, doubts=("acl differs",), way=None, why_this_way="not proved"
    )
    text = shown(doubted)
    assert "migrated ahead: not proved: acl differs" in text
    assert "equal" not in text
    assert "a rollout will be refused: not proved" in text


def test_a_roll_shows_no_tables():
    roll = replace(VIEW, verdict="roll", tables=(), forecast=(), forecast_s=None)
    nothing_ahead = replace(roll, ahead_proven=None, forecast_ahead=(), way=None, why_this_way="")
    text = shown(nothing_ahead)
    assert text.splitlines()[1].startswith("roll: ")
    assert "left alone" not in text
    assert "without writes" not in text
    assert "ahead" not in text


def test_as_data_nothing_is_missing(capsys: pytest.CaptureFixture[str]):
    output.show(VIEW, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["tables"][0] == {
        "name": "document_pool",
        "rows_before": 40,
        "rows_after": 0,
        "change": "lost rows",
        "accepted": False,
    }
    assert told["forecast_s"] == 42.0
