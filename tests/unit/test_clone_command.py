"""The words of ``onebaton clone`` and ``rehearse --in clone``, and what is made of them."""

import pytest

from onebaton import main, wiring
from onebaton.cloning import CloneRow, ClonesView, CloneView
from onebaton.views import RehearsalView
from onebaton.wiring import CloneWish

ROW = CloneRow(
    name="try",
    zone="cloud-try",
    of="cloud",
    subnet="10.0.1.0/28",
    size=1,
    version="6.10.5",
    source="cloud-a2",
    made_at=0.0,
    expires_at=1.0,
    phase="ready",
    expired=True,
)
VIEW = CloneView(ROW, "http://10.0.1.2:2633/RPC2", "oneadmin", "password", "platform", ())


@pytest.fixture
def asked(monkeypatch) -> list[tuple[object, ...]]:
    seen: list[tuple[object, ...]] = []

    def note(name, answer):
        def use_case(options, *words, **more):
            seen.append((name, *words, *more.items()))
            return answer

        monkeypatch.setattr(wiring, name, use_case)

    note("create_clone", VIEW)
    note("refresh_clone", VIEW)
    note("check_clone", VIEW)
    note("list_clones", ClonesView((ROW,)))
    note("destroy_clone", None)
    note("expired_clones", ("old", "older"))
    note("rehearse_in_clone", RehearsalView("t", "roll", *["x"] * 5, 0, 0.0, "s", "n"))
    return seen


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        (["clone", "try"], [("create_clone", CloneWish("try"))]),
        (["clone", "create", "try"], [("create_clone", CloneWish("try"))]),
        (
            ["clone", "try", "--size", "3", "--ttl", "2h", "--from", "s3://b/k"],
            [("create_clone", CloneWish("try", 3, "2h", "s3://b/k"))],
        ),
        (["clone", "refresh", "try"], [("refresh_clone", CloneWish("try"))]),
        (["clone", "check", "try"], [("check_clone", "try")]),
        (["clone", "list"], [("list_clones",)]),
        (["clone", "destroy", "try", "--yes"], [("destroy_clone", "try")]),
        (
            ["clone", "destroy", "--expired"],
            [("expired_clones",), ("destroy_clone", "old"), ("destroy_clone", "older")],
        ),
        (["rehearse", "--in", "clone"], [("rehearse_in_clone", None, ("keep", False))]),
        (["rehearse", "--in", "clone", "try"], [("rehearse_in_clone", "try", ("keep", False))]),
    ],
)
def test_words_become_one_call(asked, words, calls, capsys):
    assert main.main(words) == 0, capsys.readouterr().err
    assert asked == calls


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clone", "Try"], "must start with a letter"),
        (["clone", "create", "list"], "no clone can be called list"),
        (["clone", "try", "--size", "2"], "1, 3, 5, 7 or 9"),
        (["clone", "try", "--ttl", "soon"], "--ttl: must be a number of minutes"),
        (["clone", "destroy"], "either the name of a clone or --expired"),
        (["clone", "destroy", "try", "--expired"], "either the name of a clone or --expired"),
        (["clone", "destroy", "try"], "nobody is here to ask"),
        (["rehearse", "try"], "stands beside --in clone"),
    ],
)
def test_words_that_mean_nothing_are_told_of_before_anything_is_done(asked, words, message, capsys):
    assert main.main(words) == 2
    assert message in capsys.readouterr().err
    assert asked == []


def test_what_is_shown_says_what_it_is(asked, capsys):
    main.main(["clone", "list"])
    shown = capsys.readouterr().out
    assert "try" in shown
    assert "expired" in shown
    main.main(["clone", "try"])
    shown = capsys.readouterr().out
    assert "clone try of the zone cloud: expired" in shown
    assert "oneadmin at http://10.0.1.2:2633/RPC2, password in password" in shown
