"""Plans as people read them."""

from dataclasses import replace

from tests.fakes.worlds import Lab, next_release, wanted, zone

from onebaton.model import PriorPhase
from onebaton.plan.actions import Plan
from onebaton.plan.bootstrap import plan_bootstrap
from onebaton.plan.describe import describe_bootstrap, describe_roll, row
from onebaton.plan.roll import plan_roll
from onebaton.plan.takeback import plan_finalize, plan_rollback
from onebaton.views import PlanView


def test_a_surge_of_three_line_by_line():
    lab = zone(wanted(3))
    world = lab.observe()
    view = describe_roll(lab.wanted, world, plan_roll(lab.wanted, world))
    assert view.title == "roll zone z"
    assert view.reason == "3 of 3 servers are not on the wanted image"
    assert (view.from_version, view.to_version) == ("6.10.0", "6.10.5")
    assert [f"{row.number} {row.what} ({row.quorum})" for row in view.steps] == [
        "1 provision z-b1 (10.0.0.21), z-b2 (10.0.0.22), z-b3 (10.0.0.23) from onebaton/z:6.10.5 "
        "(2 of 3 needed, 3 healthy seen, survives 1 more failure)",
        "2 seed z-b1, z-b2, z-b3 from z-a2 "
        "(2 of 3 needed, 3 healthy seen, survives 1 more failure)",
        "3 join z-b1, steered to lead (3 of 4 needed, 3 healthy seen, survives no further failure)",
        "4 join z-b2 (3 of 5 needed, 4 healthy seen, survives 1 more failure)",
        "5 join z-b3 (4 of 6 needed, 5 healthy seen, survives 1 more failure)",
        "6 restart z-b2 (4 of 6 needed, 5 healthy seen, survives 1 more failure)",
        "7 retire server 1 (z-a2) (4 of 6 needed, 5 healthy seen, survives 1 more failure)",
        "8 retire server 2 (z-a3) (3 of 5 needed, 4 healthy seen, survives 1 more failure)",
        "9 hand over from server 0 (z-a1) to z-b1 "
        "(3 of 4 needed, 3 healthy seen, survives no further failure)",
        "10 retire server 0 (z-a1) (3 of 4 needed, 3 healthy seen, survives no further failure)",
        "11 restore the election timeout of z-b1 "
        "(2 of 3 needed, 3 healthy seen, survives 1 more failure)",
        "12 destroy z-a1, z-a2, z-a3 (2 of 3 needed, 3 healthy seen, survives 1 more failure)",
    ]
    assert view.steps[5].why == (
        "it was started before z-b3 joined, and could not forward writes there"
    )
    assert (view.steps[4].healthy, view.steps[4].voters, view.steps[4].needed) == (5, 6, 4)


def test_a_swap_line_by_line():
    lab = zone(wanted(3, "swap"))
    world = lab.observe()
    view = describe_roll(lab.wanted, world, plan_roll(lab.wanted, world))
    assert view.strategy == "swap"
    assert [row.what for row in view.steps[:4]] == [
        "swap server 1 (z-a2): stop it, and make its machine anew from onebaton/z:6.10.5",
        "seed z-a2 from z-a3",
        "join z-a2, steered to lead",
        "swap server 2 (z-a3): stop it, and make its machine anew from onebaton/z:6.10.5",
    ]
    (warning,) = view.warnings
    assert "z-a2, z-a3, z-a1 have the old names and addresses, and other ssh host keys" in warning


def test_nothing_to_do():
    lab = zone(wanted(3), version="6.10.5")
    world = lab.observe()
    plan = plan_roll(lab.wanted, world)
    assert plan == Plan()
    view = describe_roll(lab.wanted, world, plan)
    assert view.steps == ()
    assert view.reason == "every server is on the wanted image, and nothing else is left"


def test_a_bootstrap():
    goal = wanted(3)
    view = describe_bootstrap(goal, None, plan_bootstrap(goal, (), {}, None))
    assert view.reason == "0 of 3 servers are in the zone"
    assert view.from_version is None
    assert [(row.what, row.quorum) for row in view.steps[1:4]] == [
        ("found the zone on z-a1", "no zone yet"),
        ("seed z-a2, z-a3 from z-a1", "1 of 1 needed, 1 healthy seen, survives no further failure"),
        ("join z-a2", "2 of 2 needed, 1 healthy seen, no quorum"),
    ]


def view_of(lab: Lab) -> PlanView:
    world = lab.observe()
    return describe_roll(lab.wanted, world, plan_roll(lab.wanted, world))


def test_a_cut_over_with_the_held_stand_by_line_by_line():
    view = view_of(zone(next_release(3)))
    assert view.title == "cut zone z over"
    assert view.strategy == "cut-over, with the held stand-by"
    assert view.reason == (
        "the database schema changes from 6.10.0 to 7.0.0 by shared/6.10.0_to_7.0.0.rb, "
        "local/6.10.0_to_7.0.0.rb; rehearsed 3 hours ago (rehearsals/1.json): forecast of the "
        "time without writes with the held stand-by: 2.6 s"
    )
    assert (view.from_version, view.to_version) == ("6.10.0", "7.0.2")
    assert view.warnings == (
        "after the cut the zone is one server until the second has joined: it bears no failure "
        "meanwhile",
    )
    assert [f"{row.number} {row.what} ({row.quorum})" for row in view.steps[2:6]] == [
        "3 migrate copies ahead on z-b1, z-b2, z-b3 "
        "(2 of 3 needed, 3 healthy seen, survives 1 more failure)",
        "4 start the next release on z-b1, held: it cannot win an election "
        "(2 of 3 needed, 3 healthy seen, survives 1 more failure)",
        "5 cut over to z-b1, which is held (the zone stops and starts anew: 1 of 1 needed then)",
        "6 join z-b2 (2 of 2 needed, 1 healthy seen, no quorum)",
    ]


def test_a_cut_over_says_why_it_is_the_plain_way_and_what_is_lost():
    goal = next_release(
        1,
        ahead_proven=False,
        doubts=("vm_pool differs",),
        losses={"document_pool": "2099 → 0"},
        forecast_s={},
        migrators=(),
    )
    cut = replace(goal.cut, accepted=frozenset({"document_pool", "hook_log"}))
    view = view_of(zone(replace(goal, cut=cut)))
    assert view.strategy == "cut-over, the plain way"
    assert view.reason.endswith(
        "to 7.0.0; rehearsed 3 hours ago (rehearsals/1.json): forecast of the time without "
        "writes the plain way: unknown"
    )
    assert view.warnings == (
        "rows of document_pool are lost, as accepted: 2099 → 0 in the rehearsal",
        "hook_log was accepted to lose rows and lost none in the rehearsal",
        "the plain way is taken, as the rehearsal did not prove the stand-by: vm_pool differs",
    )
    assert "cut over to z-b1, the plain way: migrate while nobody serves" in {
        row.what for row in view.steps
    }


def test_a_cut_over_that_was_begun_and_one_that_is_done():
    lab = zone(next_release(3))
    while not (plan := plan_roll(lab.wanted, lab.observe()).actions)[0].id.startswith("cut-over"):
        lab.do(plan[0])
    for step in lab.steps(plan[0])[:4]:
        step()
    lab.wanted = replace(lab.wanted, cut=replace(lab.wanted.cut, rehearsal=None))
    view = view_of(lab)
    assert view.strategy == "cut-over, with the held stand-by"
    assert view.reason == (
        "a cut-over from schema 6.10.0 to 7.0.0 was begun on z-b1, and goes on or is taken back"
    )
    assert view.from_version == "6.10.0"
    while plan := plan_roll(lab.wanted, lab.observe()).actions:
        lab.do(plan[0])
    view = view_of(lab)
    assert (view.title, view.steps) == ("roll zone z", ())
    assert view.warnings == (
        "z-a1, z-a2, z-a3 of the last cut-over are kept, stopped and masked, until `onebaton "
        "finalize`; `onebaton rollback` brings them back",
    )
    (back,) = plan_rollback(lab.observe())
    assert row(1, back).what == (
        "bring the old generation back: z-a1 (server 0), z-a2 (server 1), z-a3 (server 2)"
    )
    assert row(1, back).quorum == "the zone stops and starts anew: 2 of 3 needed then"
    final = plan_finalize(lab.observe(), 3).transitions[0]
    assert row(1, final).what == (
        "give the old generation up: z-a1 (server 0), z-a2 (server 1), z-a3 (server 2)"
    )
    lab.do(final.action)
    assert lab.prior.phase is PriorPhase.FINAL
    assert view_of(lab).warnings == ()
