"""Exit statuses, and what is on the screen when something goes wrong."""

import io
import json
import stat
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from onebaton import main, wiring
from onebaton.commands import options
from onebaton.drift import Drift, DriftView
from onebaton.errors import (
    ConfigError,
    DeadlineError,
    InterruptedRunError,
    LockedError,
    OnebatonError,
    RefusedError,
    Status,
    StepFailedError,
    UnavailableError,
    UnreadableError,
    UsageError,
)
from onebaton.model import Image, Schema
from onebaton.reports import ReportView
from onebaton.ui.messages import error_block
from onebaton.views import (
    AbortView,
    FinalView,
    PlanRow,
    PlanView,
    RehearsalView,
    RollbackView,
    StatusView,
)


@pytest.fixture
def command(monkeypatch):
    """Makes a command ``try`` whose body is a function."""

    def make(body):
        module = ModuleType("onebaton.commands.try")
        module.app = options.new_app()
        module.app.command()(body)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(main.COMMANDS, "try", "is tried")

    return make


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (StepFailedError, 1),
        (UsageError, 2),
        (RefusedError, 4),
        (UnreadableError, 65),
        (UnavailableError, 69),
        (LockedError, 75),
        (DeadlineError, 75),
        (ConfigError, 78),
        (InterruptedRunError, 130),
    ],
)
def test_an_error_has_its_status_and_its_block(command, capsys, kind, status):
    def body():
        raise kind("it broke", details=["n1: down", "n2: up\nsince noon"], resolution="Mend it.")

    command(body)
    assert main.main(["try"]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: it broke\n  - n1: down\n  - n2: up\n    since noon\n→ Mend it.\n"


def test_a_block_of_a_message_alone():
    assert error_block(OnebatonError("it broke")) == "error: it broke\n"


def test_an_interrupt_is_130(command, capsys):
    def body():
        raise KeyboardInterrupt

    command(body)
    assert main.main(["try"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_bug_is_one_line_and_a_file_and_shows_no_value(command, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def body():
        password = "".join(["hun", "ter2"])
        raise RuntimeError(f"cannot use {password}")

    command(body)
    assert main.main(["try"]) == Status.BUG == 70
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "RuntimeError" in err
    assert "hunter2" not in err
    (file,) = tmp_path.iterdir()
    assert str(file) in err
    assert "Traceback" in file.read_text()
    assert "password = " not in file.read_text().replace('password = "".join', "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_bug_is_told_where_nothing_can_be_written(command, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))

    def body():
        raise RuntimeError

    command(body)
    assert main.main(["try"]) == 70
    assert "could not be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (["stats"], 2, "Did you mean 'status'?"),
        (["--nothing"], 2, "there is no command '--nothing'"),
        (["status", "--nothing"], 2, "No such option"),
        (["status", "more"], 2, "unexpected extra argument"),
        (["config"], 2, "Missing command"),
        ([], 2, "Usage: onebaton COMMAND"),
        (["config", "check", "-c", "none.yaml"], 78, "there is no configuration file none.yaml"),
    ],
)
def test_a_wrong_command_line(argv, *, status, said, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main.main(argv) == status
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""


def test_the_help_names_every_command_and_every_command_has_help(capsys):
    assert main.main(["--help"]) == 0
    text = capsys.readouterr().out
    here = {path.stem for path in Path(main.__file__).parent.joinpath("commands").glob("*.py")}
    assert set(main.COMMANDS) == here - {"__init__", "options"}
    for name, what in main.COMMANDS.items():
        assert f"  {name}" in text
        assert what in text
        assert main.main([name, "--help"]) == 0
        assert f"Usage: onebaton {name}" in capsys.readouterr().out


def test_version(capsys):
    for argv in (["version"], ["--version"]):
        assert main.main(argv) == 0
        assert capsys.readouterr().out.startswith("onebaton 0.")


def plan_view(*, steps: int) -> PlanView:
    row = PlanRow(1, "join-n4", "join n4", "it is next", "", 3, 4, 3)
    return PlanView("roll lab", "surge", "same schema", "6.10.0", "6.10.5", (row,) * steps)


@pytest.mark.parametrize(("steps", "status"), [(0, 0), (2, 3)])
def test_plan_says_by_its_status_whether_there_is_something_to_do(
    steps, status, monkeypatch, capsys
):
    monkeypatch.setattr(wiring, "plan", lambda _options: plan_view(steps=steps))
    assert main.main(["plan"]) == status
    assert "6.10.0 → 6.10.5, surge" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("plan", plan_view(steps=1)),
        ("status", StatusView(0, "lab", True, "10.0.0.9/24", (), None, 1.5, (), ())),
        ("images", (Image("i", "d", "6", Schema("6", "6"), "p", "b", "r", "now", "1"),)),
        ("rollout", ReportView("rolled", ())),
        ("bootstrap", ReportView("founded", ())),
        ("finalize", ReportView("final", ())),
    ],
)
def test_json_stands_alone_on_standard_output(name, answer, monkeypatch, capsys):
    def use_case(given):
        given.reporter.note("a note")
        given.reporter.progress("a wait")
        given.reporter.warn("a warning")
        return answer

    monkeypatch.setattr(wiring, name, use_case)
    nothing = FinalView("lab", nothing="it is final already")
    monkeypatch.setattr(wiring, "finalize_preview", lambda _options: nothing)
    main.main([name, "--json"])
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert data[0]["schema"] == {"shared": "6", "local": "6"} if name == "images" else data
    assert [line[10:] for line in err.splitlines()] == ["a note", "a wait", "warning: a warning"]


def test_options_reach_the_use_case(monkeypatch):
    seen = []
    monkeypatch.setattr(wiring, "plan", lambda given: seen.append(given) or plan_view(steps=0))
    monkeypatch.delenv("ONEBATON_CONFIG", raising=False)
    monkeypatch.delenv("ONEBATON_VERSION", raising=False)
    main.main(["plan"])
    main.main(["plan", "-c", "x.yaml", "--version", "7.0.2", "--state", "s"])
    monkeypatch.setenv("ONEBATON_CONFIG", "y.yaml")
    monkeypatch.setenv("ONEBATON_VERSION", "6.10.0")
    main.main(["plan"])
    assert [(str(o.config), o.version, o.state) for o in seen] == [
        ("cluster.yaml", None, None),
        ("x.yaml", "7.0.2", "s"),
        ("y.yaml", "6.10.0", None),
    ]


@pytest.mark.parametrize(
    ("names", "argv", "status", "destroyed"),
    [
        ((), [], 0, False),
        (("n1", "n2"), [], 2, False),
        (("n1", "n2"), ["--yes"], 0, True),
    ],
)
def test_destroy_asks_and_where_nobody_can_answer_refuses(
    *, names, argv, status, destroyed, monkeypatch, capsys
):
    done = []
    monkeypatch.setattr(wiring, "destroy_preview", lambda _options: names)
    monkeypatch.setattr(wiring, "destroy", lambda _options: done.append(names) or names)
    assert main.main(["destroy", *argv]) == status
    assert done == ([names] if destroyed else [])
    out, err = capsys.readouterr()
    if status == 2:
        assert "n1, n2" in err
        assert "--yes" in err
    if destroyed:
        assert out == "destroyed n1, n2\n"


@pytest.mark.parametrize(("rows", "status"), [(0, 0), (2, 3)])
def test_drift_ends_with_its_own_status(rows, status, monkeypatch, capsys):
    row = Drift("vip", "10.0.0.100/24", "on n1", "on n2", "Take it off.")
    view = DriftView("lab", "6.10.5", 1.0, (row,) * rows, ("half-done",))
    monkeypatch.setattr(wiring, "drift", lambda _options: view)
    assert main.main(["drift", "--json"]) == status
    shown = json.loads(capsys.readouterr().out)
    assert [one["place"] for one in shown["rows"]] == ["10.0.0.100/24"] * rows
    assert shown["notes"] == ["half-done"]


BACK = RollbackView(
    "lab", "6.10.5", ("n1", "n2"), ("n4", "n5"), 12, ("12 records are lost", "vm_pool 2")
)
FINAL = FinalView("lab", destroys=("n1", "n2"), stay=("n3 stays as it is",))


@pytest.mark.parametrize(
    ("name", "view", "argv", "status", "is_done"),
    [
        ("rollback", BACK, [], 2, False),
        ("rollback", BACK, ["--yes"], 0, True),
        ("finalize", FINAL, [], 2, False),
        ("finalize", FINAL, ["--yes"], 0, True),
        ("finalize", replace(FINAL, destroys=()), [], 2, False),
        # Nothing to decide on: it is said by the report.
        ("finalize", FinalView("lab", nothing="it is final already"), [], 0, True),
    ],
)
def test_what_cannot_be_undone_is_asked_and_where_nobody_can_answer_refused(
    *, name, view, argv, status, is_done, monkeypatch, capsys
):
    done = []
    monkeypatch.setattr(wiring, f"{name}_preview", lambda _options: view)
    monkeypatch.setattr(
        wiring, name, lambda _options: done.append(name) or ReportView("it is done", ())
    )
    assert main.main([name, *argv]) == status
    assert done == ([name] if is_done else [])
    out, err = capsys.readouterr()
    assert ("it is done" in out) == is_done
    told = view.lost if name == "rollback" else view.stay
    assert all(line in err for line in told)
    if status == 2:
        assert "--yes" in err
        names = (*view.stops, *view.brings_back) if name == "rollback" else view.destroys
        assert all(one in err for one in names)


@pytest.mark.parametrize(
    ("view", "argv", "status", "is_done"),
    [
        (AbortView("lab", "6.10.5", ("n4",), ("n4", "n5")), [], 2, False),
        (AbortView("lab", "6.10.5", ("n4",), ("n4", "n5")), ["--yes"], 0, True),
        (AbortView("lab", "6.10.5", swaps=("n4", "n5")), [], 2, False),
        # Nothing to decide on.
        (AbortView("lab", "6.10.5"), [], 0, True),
    ],
)
def test_an_abort_says_what_leaves_before_it_asks(
    *, view, argv, status, is_done, monkeypatch, capsys
):
    done = []
    monkeypatch.setattr(wiring, "abort_preview", lambda _options: view)
    monkeypatch.setattr(
        wiring, "abort", lambda _options: done.append(view) or ReportView("it is done", ())
    )
    assert main.main(["abort", *argv]) == status
    assert bool(done) == is_done
    if status == 2:
        asked = "make n4, n5 anew" if view.swaps else "take n4 out of the zone and destroy n4, n5"
        assert asked in capsys.readouterr().err


@pytest.mark.parametrize(
    ("steps", "argv", "status", "is_done"),
    [
        (("destroy n2",), [], 2, False),
        (("destroy n2",), ["--yes"], 0, True),
        # Nothing to decide on.
        ((), [], 0, True),
    ],
)
def test_a_replacement_says_what_is_to_be_done_before_it_asks(
    *, steps, argv, status, is_done, monkeypatch, capsys
):
    done = []
    monkeypatch.setattr(wiring, "replace_preview", lambda _options, _node: steps)
    monkeypatch.setattr(
        wiring, "replace", lambda options, node: done.append((options, node)) or ReportView("t", ())
    )
    assert main.main(["replace", "n2", "-c", "x.yaml", *argv]) == status
    err = capsys.readouterr().err
    assert all(f"to be done: {step}" in err for step in steps)
    assert len(done) == is_done
    for given, node in done:
        assert node == "n2"
        assert given.again("replace") == "onebaton replace n2 --config x.yaml"


@pytest.mark.parametrize("name", ["park", "unpark"])
def test_one_server_is_named(name, monkeypatch, capsys):
    done = []
    monkeypatch.setattr(
        wiring, name, lambda options, node: done.append((options, node)) or ReportView("t", ())
    )
    assert main.main([name]) == 2
    assert main.main([name, "n2", "-c", "x.yaml"]) == 0
    ((given, node),) = done
    assert node == "n2"
    assert given.again(name) == f"onebaton {name} n2 --config x.yaml"
    assert "onebaton rollout --config" in given.again("rollout")
    capsys.readouterr()


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 130), ("", 130)])
def test_an_answer_counts(answer, status, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    done = []
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(wiring, "rollback_preview", lambda _options: BACK)
    monkeypatch.setattr(
        wiring, "rollback", lambda _options: done.append("x") or ReportView("it is done", ())
    )
    assert main.main(["rollback", "--json"]) == status
    assert done == (["x"] if status == 0 else [])
    out, err = capsys.readouterr()
    # What is lost is said before the question, and never among the data.
    assert err.index("12 records are lost") < err.index("bring n1, n2 back?")
    assert "?" not in out
    if status == 0:
        assert json.loads(out)["title"] == "it is done"
    else:
        assert "nothing was taken back" in err


def test_what_is_said_of_a_cut_over_reaches_the_use_case_and_the_next_command(monkeypatch):
    seen = []
    rehearsal = RehearsalView(
        "t", "cut-over", "7.0.2", "i", "d", "6", "7", log_index=1, began_at=1.0, source="", node=""
    )
    monkeypatch.setattr(wiring, "plan", lambda given: seen.append(given) or plan_view(steps=0))
    monkeypatch.setattr(wiring, "rollout", lambda given: seen.append(given) or ReportView("t", ()))
    monkeypatch.setattr(wiring, "rehearse", lambda given, **_: seen.append(given) or rehearsal)
    losses = ["--accept-loss", "document_pool", "--accept-loss", "vm_import"]
    for name in ("plan", "rollout"):
        assert main.main([name, "-c", "x.yaml", "--cut", "plain", *losses]) == 0
        given = seen.pop()
        assert (given.cut, given.accepted) == ("plain", ("document_pool", "vm_import"))
        assert given.again(name) == " ".join(
            ["onebaton", name, "--config", "x.yaml", "--cut", "plain", *losses]
        )
        # A command that does not know the options is not given them.
        assert given.again("bake") == "onebaton bake --config x.yaml"
    assert main.main(["rehearse", "-c", "x.yaml", *losses]) == 0
    assert seen.pop().again("rehearse") == " ".join(
        ["onebaton", "rehearse", "--config", "x.yaml", *losses]
    )
    assert main.main(["plan", "--cut", "clean"]) == 2
    assert seen == []


def test_check_and_schema(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.main(["init", "--repository", "/srv/packages"]) == 0
    assert main.main(["init"]) == 2
    Path("secrets").mkdir()
    for name in ("id_ed25519", "id_ed25519.pub"):
        Path("secrets", name).write_text("")
    capsys.readouterr()
    assert main.main(["config", "check"]) == 0
    assert "ok: zone lab of 3" in capsys.readouterr().out
    assert main.main(["config", "check", "--version", "x"]) == 78
    assert "--version: image.version" in capsys.readouterr().err
    assert main.main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["additionalProperties"] is False


@pytest.mark.parametrize(("ending", "status"), [("waiting", 3), ("stopped", 0), ("finished", 0)])
def test_a_rollout_says_by_its_status_whether_it_waits_for_somebody(ending, status, monkeypatch):
    said = []
    report = ReportView("t", (), ending=ending)
    monkeypatch.setattr(wiring, "rollout", lambda options: said.append(options) or report)
    monkeypatch.setattr(wiring, "go_on", lambda options, by: said.append((options, by)) or report)
    assert main.main(["rollout", "-c", "x.yaml", "--until", "joined"]) == status
    assert said[0].again("rollout") == "onebaton rollout --config x.yaml --until joined"
    assert said[0].again("plan") == "onebaton plan --config x.yaml"
    assert main.main(["continue", "-c", "x.yaml", "--as", "ada", "--cut", "plain"]) == status
    assert said[1][1] == "ada"
    assert said[1][0].again("continue") == "onebaton continue --config x.yaml --cut plain"
    assert main.main(["rollout", "--until", "lunch"]) == 2
    assert len(said) == 2


def test_a_report_goes_to_the_screen_or_to_a_file_in_its_format(monkeypatch, capsys, tmp_path):
    asked = []

    def text(_options, run, form):
        asked.append((run, form))
        return f"{form} of {run}\n".encode()

    view = ReportView("zone lab rolled", (), ending="failed", problem=("it burnt",), go_on="again")
    monkeypatch.setattr(wiring, "kept_text", text)
    monkeypatch.setattr(wiring, "kept_report", lambda _options, _run: view)
    assert main.main(["report", "last", "--format", "md"]) == 0
    assert capsys.readouterr().out == "md of last\n"
    file = tmp_path / "r.html"
    assert main.main(["report", "last", "--out", str(file)]) == 0
    assert file.read_text() == "html of last\n"
    assert main.main(["report", "last", "--out", str(tmp_path / "r.txt")]) == 2
    assert main.main(["report", "last", "--out", str(tmp_path / "none" / "r.md")]) == 2
    assert asked == [("last", "md"), ("last", "html"), ("last", "md")]
    assert main.main(["report", "last"]) == 0
    shown = capsys.readouterr().out
    assert "it burnt" in shown
    assert "to go on: again" in shown
