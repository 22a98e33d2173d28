"""Plans carried out in memory: whole commands, exactly as they were reviewed, or refused."""

import concurrent.futures
import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.commands import Commands, commands, happening
from tests.fakes.danger import DiedError
from tests.fakes.simulated import PASSWORD, VIP_ENDPOINT, SimulatedCluster, nobody_looks
from tests.fakes.simulated_cut import NEXT, assert_served_by_the_new, goal_of
from tests.fakes.simulated_tool import NEW, OLD, AtOnce, assert_rolled, running_zone
from tests.fakes.worlds import wanted

from onebaton.model import Host
from onebaton.rollout.rehearsals import keep, key_of
from onebaton.views import RehearsalView, TableRow

#: Plans may be begun with for a minute.
SHORT_LIVED = "plans:\n  max_age_hours: 0.0166\nrollout:\n"


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


@pytest.fixture
def zone(tmp_path: Path, monkeypatch, capsys) -> Commands:
    return commands(tmp_path, running_zone(wanted(3), leader=1), monkeypatch, capsys)


def carry_out(zone: Commands) -> tuple[str, ...]:
    return ("rollout", "--plan", str(zone.plan))


def restart_the_leader(cluster: SimulatedCluster) -> None:
    """Somebody restarts the server that leads, and another one wins."""
    leader = cluster.leader
    assert leader is not None
    cluster.kill(leader.machine)
    cluster.clock.sleep(15.0)
    cluster.bring_back(leader.machine)
    cluster.clock.sleep(25.0)
    assert cluster.leader is not None
    assert cluster.leader.machine != leader.machine


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """As the documentation says to make one."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    for words in (
        ["genpkey", "-algorithm", "ed25519", "-out", private],
        ["pkey", "-in", private, "-pubout", "-out", public],
    ):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=20)
    return private, public


# As it was reviewed


@pytest.mark.parametrize("strategy", ["surge", "one-by-one", "swap"])
def test_a_plan_is_carried_out_once(tmp_path, monkeypatch, capsys, strategy):
    goal = wanted(3, strategy)
    zone = commands(tmp_path, running_zone(goal, leader=1), monkeypatch, capsys, strategy=strategy)
    plan = zone.planned()
    assert zone.run(*carry_out(zone), "--json") == 0, zone.err
    assert_rolled(zone.cluster, goal)
    taken = [step["step_id"] for step in json.loads(zone.out)["steps"]]
    assert taken == [step["id"] for step in plan["plan"]["steps"]]
    zone.refused(*carry_out(zone), naming="the plan is used: it was carried out already")


def test_the_life_of_a_plan(zone: Commands):
    """Planned, the leader changes, refused with that, planned anew, carried out."""
    first = zone.planned()["plan"]
    assert first["start"]["leader"] == "z-a2"
    restart_the_leader(zone.cluster)
    now = zone.cluster.leader.machine
    calls = len(zone.cluster.frontends.calls)
    zone.refused(*carry_out(zone), naming=f"leader: planned z-a2; now {now}")
    assert "Nothing was changed" in zone.err
    assert "one thing that it was decided on changed" in zone.err
    changing = {"seed", "configure", "start", "stop", "cut_off_leader"}
    assert not changing & {call[0] for call in zone.cluster.frontends.calls[calls:]}
    assert list(zone.store.keys("plans/")) == []
    assert zone.planned()["plan"]["start"]["leader"] == now
    assert zone.run(*carry_out(zone)) == 0, zone.err
    assert_rolled(zone.cluster, wanted(3))


def test_a_plan_says_the_version_and_how_to_cut_over(zone: Commands):
    zone.edit("version: 6.10.5", "version: 6.10.0")
    zone.planned("--version", "6.10.5")
    assert zone.run(*carry_out(zone), "--version", "6.10.0") == 2
    assert "says something else than --version" in zone.err
    assert zone.run(*carry_out(zone)) == 0, zone.err
    assert_rolled(zone.cluster, wanted(3))


def test_a_plan_of_nothing_is_carried_out(zone: Commands):
    words = ("--version", "6.10.0", "--out", str(zone.plan))
    assert zone.run("plan", *words) == 0, zone.err
    assert zone.run(*carry_out(zone)) == 0, zone.err
    assert "nothing was to be done" in zone.out


# Killed, and gone on with


@pytest.mark.parametrize("strategy", ["surge", "one-by-one", "swap"])
def test_a_plan_is_gone_on_with_after_a_kill_anywhere(tmp_path, monkeypatch, capsys, strategy):
    """Killed before or after every ninth change; the same plan goes on each time."""
    goal = wanted(3, strategy)
    moments: list[str] = []
    for number in range(2, 200, 9):
        zone = commands(
            tmp_path / str(number),
            running_zone(goal, leader=1),
            monkeypatch,
            capsys,
            strategy=strategy,
        )
        zone.planned()
        moments.clear()

        def count(what: str, number: int = number) -> None:
            moments.append(what)
            if len(moments) == number:
                raise DiedError

        zone.cluster.at_point = count
        with suppress(DiedError):
            zone.run(*carry_out(zone))
        zone.cluster.at_point = nobody_looks
        if len(moments) < number:
            assert number > 40
            return
        zone.cluster.clock.sleep(25.0 if number % 2 else 0.0)
        status = zone.run(*carry_out(zone))
        assert status == 0, f"{moments[-1]}\n{zone.err[-1800:]}"
        assert_rolled(zone.cluster, goal)
    raise AssertionError("a rollout has no end")


def test_the_killed_run_of_a_plan_is_gone_on_with_when_it_has_expired(zone: Commands):
    zone.edit("rollout:\n", SHORT_LIVED)
    zone.planned()
    zone.killed(*carry_out(zone), at="after start z-b2")
    zone.cluster.clock.sleep(120.0)
    assert zone.run(*carry_out(zone)) == 0, zone.err
    assert_rolled(zone.cluster, wanted(3))


def test_a_cut_over_is_carried_out_as_planned_and_gone_on_with(tmp_path, monkeypatch, capsys):
    for moment in ("after load z-b2", "after freeze z-a3", "after heartbeat on z-b1", None):
        cluster = running_zone(wanted(3), leader=1)
        zone = commands(tmp_path / str(moment), cluster, monkeypatch, capsys)
        zone.add_image(NEXT)
        zone.edit("version: 6.10.5", "version: 7.0.2")
        rehearse(zone)
        plan = zone.planned("--accept-loss", "document_pool")["plan"]
        assert plan["cut_way"] == "stand-by"
        assert plan["losses"] == [{"table": "document_pool", "rows": "40 → 0"}]
        assert [gap["seconds"] for gap in plan["gaps"]] == [3.0]
        if moment is not None:
            zone.killed(*carry_out(zone), at=moment)
        assert zone.run(*carry_out(zone)) == 0, zone.err
        assert_served_by_the_new(cluster, goal_of())


def rehearse(zone: Commands, *, began_at: float = 900.0) -> None:
    """A rehearsal that proved the stand-by is kept."""
    key = key_of(f"2026112{began_at:g}-7.0.2")
    view = RehearsalView(
        title="rehearsal",
        verdict="cut-over",
        version="7.0.2",
        image=NEXT.name,
        image_digest=NEXT.digest,
        from_schema="6.10.0",
        to_schema="7.0.0",
        log_index=4711,
        began_at=began_at,
        source="z-a1",
        node="z-b1",
        tables=(TableRow("document_pool", 40, 0, "lost rows", accepted=True),),
        forecast_s=12.0,
        ahead_proven=True,
        forecast_ahead_s=3.0,
        way="stand-by",
        kept_as=f"state/{key}",
    )
    keep(zone.store, key, view)


# Stale, each thing by its name


def test_an_added_member(zone: Commands):
    zone.planned()
    at_new = "http://10.0.0.99:2633/RPC2"
    zone.cluster.late_allowed = 2
    zone.cluster.guarded = False
    zone.cluster.api.add_server(VIP_ENDPOINT, "one-9", at_new)
    zone.refused(*carry_out(zone), naming=f"member: planned none at {at_new}; now server 3 (one-9)")


def test_a_member_that_is_gone(zone: Commands):
    zone.planned()
    zone.cluster.throw_out("z-a3")
    zone.refused(*carry_out(zone), naming="member: planned server 2 (z-a3)")


def test_a_revoked_image(zone: Commands):
    zone.planned()
    zone.standing.revoke(replace(NEW, platform="fake"), "it leaks", 5.0)
    zone.refused(*carry_out(zone), naming=f"image: planned {NEW.name}; now revoked: it leaks")


def test_an_image_that_is_not_in_the_catalogue(zone: Commands):
    zone.planned()
    assert zone.run("images") == 0
    key = next(key for key in zone.store.content if "6.10.5" in key)
    del zone.store.content[key]
    zone.refused(*carry_out(zone), naming="not in the catalogue any more")


def test_a_newer_image_has_no_part_in_a_plan(zone: Commands):
    zone.planned()
    zone.add_image(
        replace(NEW, name="onebaton/z:newer", digest="sha256:n", built_at="2026-02-01T00:00:00Z")
    )
    assert zone.run(*carry_out(zone)) == 0, zone.err
    assert_rolled(zone.cluster, wanted(3))


def test_a_channel_that_moved(zone: Commands):
    zone.edit("version: 6.10.5", "version: 6.10.5\n  channel: staging")
    zone.standing.promote(NEW, "staging", 1.0)
    assert zone.planned()["plan"]["image"]["channel"] == "staging"
    zone.standing.promote(OLD, "staging", 2.0)
    zone.refused(
        *carry_out(zone), naming="channel staging: planned sha256:6.10.5; now sha256:6.10.0"
    )


def test_another_configuration_and_what_is_none(zone: Commands):
    zone.planned()
    zone.edit("image:\n", "# a comment\n\nimage:\n")
    zone.edit("strategy: surge", 'strategy: "surge"')
    zone.edit("rollout:", "oned:\n  log_retention: 250000\nrollout:")
    assert zone.run("plan") == 3
    zone.edit("log_retention: 250000", "log_retention: 200000")
    zone.edit("enabled: false", "enabled: false\n    rate_hz: 20")
    zone.refused(
        *carry_out(zone),
        naming="configuration: planned as it was; now other values of oned.log_retention, "
        "rollout.probe.rate_hz",
    )
    zone.edit("log_retention: 200000", "log_retention: 250000")
    zone.edit("enabled: false\n    rate_hz: 20", "enabled: false")
    assert zone.run(*carry_out(zone)) == 0, zone.err


def test_another_state_of_terraform(zone: Commands):
    zone.planned()
    zone.cluster.platform.written += 1
    zone.refused(
        *carry_out(zone), naming="Terraform state: planned serial 1 of fake; now serial 2 of fake"
    )


def test_another_schema(zone: Commands):
    plan = zone.planned()
    for name in ("z-a1", "z-a2", "z-a3"):
        zone.cluster.machines[name].database.schema = NEXT.schema
    zone.refused(*carry_out(zone), naming="schema of the zone: planned 6.10.0; now 7.0.0")
    assert plan["plan"]["from_schema"] == "6.10.0"


def test_another_rehearsal(zone: Commands):
    zone.add_image(NEXT)
    zone.edit("version: 6.10.5", "version: 7.0.2")
    rehearse(zone)
    zone.planned("--accept-loss", "document_pool")
    rehearse(zone, began_at=950.0)
    zone.refused(*carry_out(zone), naming="rehearsal: planned state/rehearsals/")


def test_another_onebaton(zone: Commands, monkeypatch):
    zone.planned()
    monkeypatch.setattr("onebaton.__version__", "0.2.0")
    zone.refused(*carry_out(zone), naming="onebaton: planned 0.1.0; now 0.2.0")


def test_an_expired_plan(zone: Commands):
    zone.edit("rollout:\n", SHORT_LIVED)
    zone.planned()
    zone.cluster.clock.sleep(50.0)
    zone.planned()
    zone.cluster.clock.sleep(61.0)
    zone.refused(*carry_out(zone), naming="the plan is expired")


def test_all_that_changed_is_named_at_once(zone: Commands):
    zone.edit("rollout:\n", SHORT_LIVED)
    zone.planned()
    zone.standing.revoke(replace(NEW, platform="fake"), "it leaks", 5.0)
    zone.cluster.platform.written += 1
    restart_the_leader(zone.cluster)
    zone.cluster.clock.sleep(60.0)
    zone.refused(*carry_out(zone), naming="4 things that it was decided on changed")
    for name in ("time: ", "leader: ", "image: ", "Terraform state: "):
        assert f"  - {name}" in zone.err


# What changes while it is carried out


def test_a_leader_that_changes_between_two_joins(zone: Commands):
    zone.planned()
    happening(zone.cluster, "after start z-b1", lambda: restart_the_leader(zone.cluster))
    zone.refused(*carry_out(zone), naming="z-a2 was expected to lead")
    zone.refused(*carry_out(zone), naming="leader: planned z-a2; now z-a")
    assert "the plan is stale" in zone.err
    assert "Nothing was changed" not in zone.err
    # The rest is planned anew, and carried out.
    zone.planned()
    assert zone.run(*carry_out(zone)) == 0, zone.err
    assert_rolled(zone.cluster, wanted(3))


def test_an_image_that_is_revoked_between_two_stages(zone: Commands):
    zone.planned()
    revoke = lambda: zone.standing.revoke(replace(NEW, platform="fake"), "it leaks", 5.0)  # noqa: E731
    happening(zone.cluster, "after load z-b3", revoke)
    zone.refused(*carry_out(zone), naming="revoked: it leaks")
    assert set(zone.cluster.raft.oneds) == {"z-a1", "z-a2", "z-a3"}


def test_a_change_of_leader_is_seen_through_first(zone: Commands):
    """Killed while nobody leads: the zone gets its leader, and only then is anything refused."""
    zone.planned()
    zone.killed(*carry_out(zone), at="after cut_off_leader z-a2")
    zone.standing.revoke(replace(NEW, platform="fake"), "it leaks", 5.0)
    assert zone.cluster.leader is None
    zone.run(*carry_out(zone))
    zone.cluster.clock.sleep(5.0)
    assert zone.cluster.leader is not None
    assert zone.cluster.leader.machine == "z-b1"


def test_terraform_run_by_somebody_else_between_two_runs(zone: Commands):
    zone.planned()
    zone.killed(*carry_out(zone), at="after start z-b2")
    zone.cluster.platform.written += 1
    zone.refused(*carry_out(zone), naming="Terraform state: planned serial 2")


def test_a_rollout_that_was_given_up_is_not_gone_on_with(zone: Commands):
    zone.planned()
    zone.killed(*carry_out(zone), at="after start z-b2")
    zone.cluster.clock.sleep(25.0)
    assert zone.run("abort", "--yes") == 0, zone.err
    zone.refused(*carry_out(zone), naming="Terraform state: planned serial 2")


# Signed, and by whom


def test_only_signed_plans_where_the_configuration_says_so(zone: Commands, monkeypatch):
    mine, mine_public = key_pair(zone.folder, "mine")
    other, _ = key_pair(zone.folder, "other")
    zone.edit(
        "rollout:\n",
        f"plans:\n  public_keys: [{mine_public}]\n  require_signature: true\nrollout:\n",
    )
    zone.planned()
    zone.refused(*carry_out(zone), naming="the plan is unsigned")
    zone.refused("rollout", naming="only signed plans are carried out")
    zone.planned("--sign-key", str(other))
    zone.refused(*carry_out(zone), naming="the plan's signature is wrong")
    monkeypatch.setenv("PLAN_KEY", mine.read_text())
    plan = zone.planned("--sign-key", "env:PLAN_KEY")
    assert len(plan["signatures"]) == 1
    assert zone.run(*carry_out(zone)) == 0, zone.err
    assert f"signed by {plan['signatures'][0]['key']}" in zone.err
    assert_rolled(zone.cluster, wanted(3))


def test_a_wrong_signature_is_refused_also_where_none_is_needed(zone: Commands):
    _, mine_public = key_pair(zone.folder, "mine")
    other, _ = key_pair(zone.folder, "other")
    zone.edit("rollout:\n", f"plans:\n  public_keys: [{mine_public}]\nrollout:\n")
    zone.planned("--sign-key", f"file:{other}")
    zone.refused(*carry_out(zone), naming="the plan's signature is wrong")


def test_a_plan_that_was_tampered_with(zone: Commands):
    zone.planned()
    text = zone.plan.read_text()
    zone.plan.write_text(text.replace('"leader": "z-a2"', '"leader": "z-a1"', 1))
    zone.refused(*carry_out(zone), naming="was tampered with")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 2}', "\x00\xff"])
def test_what_is_no_plan(zone: Commands, content):
    zone.plan.write_bytes(content.encode("latin-1"))
    assert zone.run(*carry_out(zone)) == 65
    assert zone.err.count("error: ") == 1
    assert str(zone.plan) in zone.err


def test_a_plan_of_another_zone(zone: Commands):
    zone.planned()
    zone.edit("name: z", "name: y")
    zone.refused(*carry_out(zone), naming="the plan is of the zone z")


# What is written


def test_a_plan_holds_no_secret(zone: Commands):
    private, _ = key_pair(zone.folder, "mine")
    zone.planned("--sign-key", str(private), "--markdown", str(zone.folder / "comment.md"))
    secrets = {PASSWORD, private.read_text().splitlines()[1], "secret-of-ssh"}
    for name in ("plan.json", "comment.md"):
        text = (zone.folder / name).read_text()
        assert not [
            secret for secret in secrets - {""} if secret in text.replace("opennebula/", "")
        ]


def test_the_same_world_gives_the_same_comment(zone: Commands):
    comments = []
    for number in range(2):
        file = zone.folder / f"comment-{number}.md"
        zone.planned("--markdown", str(file))
        comments.append(file.read_text())
        zone.cluster.clock.sleep(60.0)
    assert comments[0] == comments[1]
    assert comments[0].startswith("<!-- onebaton-plan zone=z -->\n")
    restart_the_leader(zone.cluster)
    zone.planned("--markdown", str(zone.folder / "comment.md"))
    assert (zone.folder / "comment.md").read_text() != comments[0]


def test_a_comment_on_the_screen(zone: Commands):
    assert zone.run("plan", "--markdown", "-") == 3
    assert zone.out.startswith("<!-- onebaton-plan zone=z -->\n")
    assert "onebaton rollout --config" in zone.out


def test_a_comment_says_when_there_is_no_plan(zone: Commands):
    """An older comment would be taken for a plan that is no more."""
    zone.cluster.kill("z-a3")
    file = zone.folder / "comment.md"
    assert zone.run("plan", "--markdown", str(file)) == 4
    text = file.read_text()
    assert text.startswith("<!-- onebaton-plan zone=z -->\n### zone z: there is no plan\n")
    assert "server 2 (z-a3) is unhealthy" in text


def test_a_leader_by_somebody_else_is_not_taken_for_progress(zone: Commands):
    """The new server that joined first leads before its time: another plan is needed."""
    zone.planned()
    cluster = zone.cluster

    def topple() -> None:
        cluster.kill("z-a2")
        cluster.clock.sleep(15.0)
        cluster.bring_back("z-a2")
        cluster.clock.sleep(25.0)

    happening(cluster, "after start z-b3", topple)
    zone.refused(*carry_out(zone), naming="z-a2 was expected to lead")
    zone.refused(*carry_out(zone), naming="leader: planned z-a2; now z-b1")
    assert Host("z-b1", "").name == cluster.leader.machine


def test_a_plan_that_waits_for_an_approval_is_looked_at_again_when_it_goes_on(zone: Commands):
    zone.edit("rollout:\n", "stages:\n  approve: [handed-over]\nrollout:\n")
    zone.planned()
    assert zone.run(*carry_out(zone)) == 3, zone.err
    assert zone.cluster.leader.machine == "z-a2"
    words = ("continue", "--plan", str(zone.plan))
    # A narrow screen breaks lines anywhere.
    advice = f"onebaton continue --config {zone.config} --plan {zone.plan}"
    assert "".join(advice.split()) in "".join(zone.out.split())
    image = replace(NEW, platform="fake")
    zone.standing.revoke(image, "it leaks", 5.0)
    zone.refused(*words, naming="revoked: it leaks")
    zone.standing.reinstate(image)
    assert zone.run(*words) == 0, zone.err
    assert_rolled(zone.cluster, wanted(3))
    zone.refused(*carry_out(zone), naming="the plan is used")
