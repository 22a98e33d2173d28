"""Plans as people read them."""

from tests.fakes.worlds import wanted, zone

from onebaton.plan.actions import Plan
from onebaton.plan.bootstrap import plan_bootstrap
from onebaton.plan.describe import describe_bootstrap, describe_roll
from onebaton.plan.roll import plan_roll


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
