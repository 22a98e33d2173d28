"""Commands that only look, and one that must not act by mistake."""

import json

import pytest
from tests.e2e.conftest import NEW, NEXT_SCHEMA, OLD
from tests.e2e.lab import Lab
from tests.e2e.running import run

pytestmark = pytest.mark.e2e


def test_status_tells_the_zone_as_it_is(zone: Lab):
    status = zone.status()

    leader = zone.leader()
    members = {member["endpoint"]: member for member in status["members"]}
    assert set(members) == {zone.endpoint(address) for address in zone.addresses("a")}
    assert status["zone_name"]
    assert status["enabled"] is True
    assert status["problems"] == []
    assert members[zone.endpoint(leader)]["name"] == status["leader"]
    for address in zone.addresses("a"):
        member, raft = members[zone.endpoint(address)], zone.raft(address)
        assert member["id"] == raft["SERVER_ID"]
        assert member["state"] == ("leader" if address == leader else "follower")
        assert (member["term"], member["log_index"]) == (raft["TERM"], raft["LOG_INDEX"])
        assert (member["health"], member["lag"], member["problem"]) == ("healthy", 0, None)
        assert (member["version"], member["schema"]) == (OLD, OLD)
        assert member["generation"] == "a"
        on_machine = zone.ssh(address, f"ip -o -4 address show to {zone.net}.100")
        assert member["holds_vip"] is bool(on_machine.strip()) is (address == leader)
    assert [node["name"] for node in status["nodes"]] == zone.containers()
    assert {node["state"] for node in status["nodes"]} == {"running"}
    assert status["vip_holders"] == [members[zone.endpoint(leader)]["node"]]


def test_status_is_a_table_for_people(zone: Lab):
    outcome = run(zone.command("status"))
    outcome.show("status")
    assert outcome.status == 0
    for address in zone.addresses("a"):
        assert address in outcome.out


def test_images_lists_what_was_baked(lab: Lab):
    images = json.loads(lab.onebaton("images", "--json", capture=True))

    schemas = {image["version"]: image["schema"]["shared"] for image in images}
    assert schemas == {OLD: "6.10.0", NEW: "6.10.0", NEXT_SCHEMA: "7.0.0"}
    for image in images:
        assert image["digest"].startswith("sha256:")
        assert image["recipe_digest"].startswith("sha256:")
        there = run(["podman", "image", "inspect", "--format", "{{.Id}}", image["name"]])
        assert there.out.strip() == image["digest"].removeprefix("sha256:")


def test_plan_tells_every_step_and_changes_nothing(zone: Lab):
    outcome = run(zone.command("plan", "--json"))

    assert outcome.status == 3, outcome.err
    plan = json.loads(outcome.out)
    assert (plan["from_version"], plan["to_version"]) == (OLD, NEW)
    kinds = [step["step_id"].split(":")[0] for step in plan["steps"]]
    assert kinds.count("join") == zone.size
    assert kinds.count("retire") == zone.size
    assert kinds.count("hand-over") == 1
    assert all(step["healthy"] >= step["needed"] for step in plan["steps"])
    assert zone.containers() == [f"{zone.name}-a{i}" for i in (1, 2, 3)]


def test_destroy_asks_and_nobody_is_there_to_answer(zone: Lab):
    before = zone.containers()
    outcome = run(zone.command("destroy"))
    outcome.show("destroy without --yes and without a terminal")
    assert outcome.status == 2
    assert "--yes" in outcome.err
    for name in before:
        assert name in outcome.err
    assert zone.containers() == before
