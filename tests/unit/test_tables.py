"""Tables: every fact is there, nothing is taken for markup, narrow screens get two."""

import io
from dataclasses import replace

import pytest

from onebaton.drift import Drift, DriftView
from onebaton.model import Image, Schema
from onebaton.reports import GapRow, ReportView, StepRow
from onebaton.ui import tables
from onebaton.views import (
    DiagnosisRow,
    DoctorView,
    MemberRow,
    NodeRow,
    PlanRow,
    PlanView,
    StatusView,
)

LEADER = MemberRow(
    0,
    "n1",
    "http://10.0.0.11:2633/RPC2",
    "leader",
    7,
    4711,
    0,
    "healthy",
    "6.10.0",
    "6.10.0",
    True,
    "lab-a-1",
    "a",
    "lab:6.10.0",
)
SILENT = MemberRow(
    1,
    "n2",
    "http://10.0.0.12:2633/RPC2",
    None,
    None,
    None,
    None,
    "unknown",
    None,
    None,
    None,
    None,
    None,
    None,
    "does not answer [timed out]",
)
STATUS = StatusView(
    0,
    "lab",
    True,
    "10.0.0.100/24",
    ("n1",),
    "n1",
    0.0,
    (LEADER, SILENT),
    (
        NodeRow("lab-a-1", "10.0.0.11", "running", "a", "lab:6.10.0", 0),
        NodeRow("lab-b-1", "10.0.0.21", "stopped", "b", "lab:6.10.5", None),
    ),
    ("2 of 3 servers make no quorum",),
)


def shown(what, monkeypatch, width=None) -> str:
    if width is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    tables.show(what, stream)
    return stream.getvalue()


def test_status_in_a_log_is_one_table_of_servers_and_one_of_idle_nodes(monkeypatch):
    text = shown(STATUS, monkeypatch)
    first, *_ = text.splitlines()
    assert first == "zone lab (0), enabled, leader n1, VIP 10.0.0.100/24 held by n1"
    (line,) = [line for line in text.splitlines() if "n1  " in line and "4711" in line]
    assert line.split() == [
        *("0", "n1", "http://10.0.0.11:2633/RPC2", "leader", "7", "4711", "0", "healthy"),
        *("6.10.0", "6.10.0", "yes", "lab-a-1", "a", "lab:6.10.0"),
    ]
    assert text.count("lab-a-1") == 1
    assert "lab-b-1" in text
    assert "n2: does not answer [timed out]" in text
    assert "2 of 3 servers make no quorum" in text
    assert "\x1b[" not in text


def test_what_was_not_seen_is_no_fact(monkeypatch):
    (line,) = [line for line in shown(STATUS, monkeypatch).splitlines() if "unknown" in line]
    assert line.split()[3:] == ["-", "-", "-", "-", "unknown", "-", "-", "?", "-", "-", "-"]


def test_nobody_holds_the_vip_only_where_everybody_was_looked_into(monkeypatch):
    nobody = replace(STATUS, vip_holders=(), members=(replace(LEADER, holds_vip=False),))
    assert "held by nobody\n" in shown(nobody, monkeypatch)
    unseen = replace(nobody, members=(*nobody.members, SILENT))
    assert "held by nobody seen\n" in shown(unseen, monkeypatch)


def test_a_narrow_screen_gets_the_machines_below(monkeypatch):
    text = shown(STATUS, monkeypatch, width=110)
    assert max(map(len, text.splitlines())) <= 110
    servers, machines = text.split("server id")
    assert "lab-a-1" not in servers
    assert "lab-a-1" in machines


def test_a_plan_says_what_why_and_with_which_quorum(monkeypatch):
    rows = (
        PlanRow(1, "join-n4", "join n4", "a new server first", "3 of 4 needed, 3 healthy", 3, 4, 3),
        PlanRow(2, "retire-n1", "retire n1", "n4 took over", "3 of 4 needed, 4 healthy", 4, 4, 3),
    )
    view = PlanView("roll lab", "surge", "same schema", "6.10.0", "6.10.5", rows, ("slow disk",))
    text = shown(view, monkeypatch)
    assert "6.10.0 → 6.10.5, surge: same schema" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "1 join n4 a new server first 3 of 4 needed, 3 healthy" in lines
    assert "2 retire n1 n4 took over 3 of 4 needed, 4 healthy" in lines
    assert "warning: slow disk" in text


def test_an_empty_plan_says_so(monkeypatch):
    view = PlanView("roll lab", "surge", "all is done", None, "6.10.5", ())
    text = shown(view, monkeypatch)
    assert "unknown → 6.10.5" in text
    assert "nothing to do" in text


def test_a_report_has_times_outcomes_and_gaps(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    view = ReportView(
        "rolled lab",
        (
            StepRow("seed", "seed 3 nodes", 3600.0, 2.04, "done"),
            StepRow("join", "join n4", 3603.0, None, "failed"),
        ),
        (
            GapRow("VIP", "write", 1.104, 3610.5, 3611.604, 900, 11),
            GapRow("n2", "read", 0.12, None, None, 900, 0),
        ),
        ("3 servers",),
    )
    lines = [" ".join(line.split()) for line in shown(view, monkeypatch).splitlines()]
    assert "seed 3 nodes 01:00:00 2.0 s done" in lines
    assert "join n4 01:00:03 - failed" in lines
    assert "VIP write 1.10 s 01:00:10.500 01:00:11.604 900 11" in lines
    assert "n2 read 0.12 s - - 900 0" in lines
    assert "3 servers" in lines


@pytest.mark.parametrize("there", [True, False])
def test_images(there, monkeypatch):
    digest = f"sha256:{'ab' * 32}"
    schema = Schema("6.10.0", "6.10.0")
    times = ("2026-01-01T00:00:00Z", "1.6.6")
    image = Image("lab:1", digest, "6.10.5", schema, "podman", "mmdebstrap:bookworm", "r", *times)
    text = shown((image,) if there else (), monkeypatch)
    if not there:
        assert text == "no image was baked yet\n"
        return
    assert "lab:1" in text
    assert "abababababab" in text
    assert digest not in text


def test_the_doctor_tells_the_worst_first_and_the_way_out_of_each():
    def row(check: str, verdict, blocks: bool) -> DiagnosisRow:
        way_out = "" if verdict == "ok" else f"mend {check}"
        return DiagnosisRow(check, verdict, blocks, f"{check} is so", "[seen]", "a trap", way_out)

    rows = (
        row("vip", "ok", False),
        row("clock", "warning", False),
        row("hooks", "unknown", True),
        row("term", "blocker", True),
    )
    shown = io.StringIO()
    tables.show(DoctorView("cloud", "6.10.5", 0.0, True, rows), shown)
    text = shown.getvalue()
    places = [text.index(f"mend {check}") for check in ("term", "hooks", "clock")]
    assert places == sorted(places)
    assert places[-1] < text.index("vip is so")
    assert text.count("[seen]") == 4
    assert text.count("a trap") == 3
    assert text.rstrip().endswith(
        "1 blocker, 1 unknown, 1 warning, 1 ok: no rollout before that is in order"
    )
    shown = io.StringIO()
    tables.show(DoctorView("cloud", "6.10.5", 0.0, False, rows[:2]), shown)
    assert "1 warning, 1 ok: nothing stands in the way of a rollout" in shown.getvalue()


def test_drift_is_told_by_area_with_the_way_back():
    rows = (
        Drift("nodes", "z-a2", "running", "stopped [off]", "Start it."),
        Drift("nodes", "z-a3", "running", "stopped", "Start it too."),
        Drift("vip", "10.0.0.100/24", "on z-a1", "on z-a2", "Take it off."),
    )
    shown = io.StringIO()
    tables.show(DriftView("cloud", "6.10.5", 0.0, rows, ("a rollout is half-done",)), shown)
    text = shown.getvalue()
    assert text.count("\nnodes\n") == 1
    places = [text.index(word) for word in ("nodes", "z-a2", "stopped [off]", "Start it.", "vip")]
    assert places == sorted(places)
    assert "A rollout is half-done." in text
    assert text.rstrip().endswith("3 things are not as configured")
    shown = io.StringIO()
    tables.show(DriftView("cloud", "6.10.5", 0.0, ()), shown)
    assert "no drift" in shown.getvalue()
