"""From a configuration and what was said on the command line to what the planner is given."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.platform import FakePlatform
from tests.fakes.reporter import ListReporter
from tests.fakes.worlds import image, wanted, zone

from onebaton.adapters.dbdump import SeedByPipes
from onebaton.adapters.s3store import S3Store
from onebaton.adapters.seedparts import SeedInParts
from onebaton.adapters.startfile import Choices, write
from onebaton.adapters.store import FolderStore
from onebaton.errors import RefusedError
from onebaton.model import Image, NodeSpec, Prior, PriorPhase, Schema, Zone
from onebaton.plan.roll import plan_roll
from onebaton.plan.underway import Goal, goal_of
from onebaton.wiring import giveup
from onebaton.wiring.choosing import candidates
from onebaton.wiring.cluster import Cluster
from onebaton.wiring.options import Options

SCHEMA = Schema("7.0.0", "7.0.0")
OLDER = Image(
    "i:older", "sha256:older", "7.0.2", SCHEMA, "podman", "b", "r1", "2026-01-01T00:00:00Z", "1.6"
)
NEWER = replace(
    OLDER,
    name="i:newer",
    digest="sha256:newer",
    recipe_digest="r2",
    built_at="2026-01-02T00:00:00Z",
)
PRIOR = Prior(
    zone=Zone(0, "z", enabled=True, servers=()),
    leader_id=0,
    node="z-b1",
    schema=Schema("6.10.0", "6.10.0"),
    version="6.10.5",
    image_digest=OLDER.digest,
    way="plain",
    phase=PriorPhase.CUTTING,
    began_at=1.0,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "packages").mkdir()
    for name in ("id_ed25519", "id_ed25519.pub", "oneadmin"):
        (tmp_path / "secrets" / name).write_text("secret\n")
    choices = Choices("podman", "lab", "7.0.2", str(tmp_path / "packages"))
    write(tmp_path / "cluster.yaml", choices, force=False)
    return tmp_path


@contextlib.contextmanager
def cluster(folder: Path, *changes: tuple[str, str], **said: object) -> Iterator[Cluster]:
    """The cluster, with texts of its file replaced, and options."""
    file = folder / "cluster.yaml"
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    with contextlib.ExitStack() as closing:
        yield Cluster(Options(file, ListReporter(), **said), closing)


def test_what_the_file_says_of_a_cut_over_reaches_the_planner(folder):
    changes = (
        ("cut: auto", "cut: stand-by"),
        ("max_outage_s: null", "max_outage_s: 4"),
        ("rehearsal_max_age_days: 7.0", "rehearsal_max_age_days: 0.5"),
    )
    with cluster(folder, *changes) as there:
        cut = there.wanted_or_unbaked[0].cut
    assert (cut.way, cut.max_outage_s, cut.rehearsal_max_age_s) == ("stand-by", 4.0, 43200.0)
    assert (cut.rehearsal, cut.accepted) == (None, frozenset())


def test_the_state_in_s3_and_what_stays_here(folder):
    changes = (
        ('state: ".onebaton"', "state: s3://zones/lab"),
        ("endpoint_url: null", "endpoint_url: http://10.0.0.9:9000"),
    )
    with cluster(folder, *changes) as there:
        # Made without a word to the service.
        assert isinstance(there.store, S3Store)
        assert there.local == folder / ".onebaton"
        assert there.place("reports/1.json") == "s3://zones/lab/reports/1.json"
    with cluster(folder, state=str(folder / "mine")) as there:
        assert isinstance(there.store, FolderStore)
        assert there.local == folder / "mine"
        assert there.place("reports/1.json") == str(folder / "mine" / "reports" / "1.json")


def test_seeds_take_the_way_that_the_file_says(folder):
    with cluster(folder) as there:
        assert isinstance(there.seeding, SeedByPipes)
        assert there.frontends
    changes = (
        ("via: ssh", "via: s3"),
        ("bucket: null", "bucket: s3://seeds/lab/"),
    )
    with cluster(folder, *changes) as there:
        # Made without a word to the service.
        assert isinstance(there.seeding, SeedInParts)
        assert there.config.seed_place == "s3://seeds/lab"
    changes = (
        ("bucket: s3://seeds/lab/", "bucket: null"),
        ('state: ".onebaton"', "state: s3://zones/lab"),
    )
    with cluster(folder, *changes) as there:
        assert there.config.seed_place == "s3://zones/lab"


def test_the_command_line_counts_before_the_file(folder):
    said = {"cut": "plain", "accepted": ("document_pool", "vm_import")}
    with cluster(folder, ("cut: auto", "cut: stand-by"), **said) as there:
        cut = there.wanted_or_unbaked[0].cut
    assert (cut.way, cut.accepted) == ("plain", {"document_pool", "vm_import"})


@pytest.mark.parametrize(
    ("prior", "first"),
    [
        (None, NEWER),
        (PRIOR, OLDER),
        # Servers may still have to join it, and the old generation has the other addresses.
        (replace(PRIOR, phase=PriorPhase.SERVED), OLDER),
        (replace(PRIOR, phase=PriorPhase.FINAL), NEWER),
        (replace(PRIOR, image_digest="sha256:gone"), NEWER),
    ],
)
def test_until_it_is_final_a_cut_over_goes_on_with_its_own_image(folder, prior, first):
    with cluster(folder) as there:
        there.catalogue.add(OLDER)
        there.catalogue.add(NEWER)
        if prior is not None:
            there.priors.save(prior)
        found = candidates(there)
        said = [note for note in there.reporter.notes if "not final" in note]
    assert found[0] == first
    assert bool(said) == (first != NEWER)
    assert set(found) == {OLDER, NEWER}


def test_a_revoked_image_is_the_last_choice_and_the_plan_is_told(folder):
    with cluster(folder) as there:
        there.catalogue.add(OLDER)
        there.catalogue.add(NEWER)
        there.standing.revoke(NEWER, "it has a hole", 1.0)
        assert candidates(there) == (OLDER, NEWER)
        (said,) = there.reporter.notes
        assert said == "i:older is taken, and not i:newer: that one was revoked: it has a hole"
        assert there._wanting(NEWER).revoked == "it has a hole"
        assert there._wanting(OLDER).revoked == ""


def test_the_image_of_a_channel(folder):
    with cluster(folder, ("channel: null", "channel: production")) as there:
        older, newer = (replace(one, platform="fake") for one in (OLDER, NEWER))
        there.__dict__["platform"] = FakePlatform({newer.name: newer.digest})
        there.catalogue.add(older)
        there.catalogue.add(newer)
        with pytest.raises(RefusedError, match="production holds no image"):
            candidates(there)
        there.standing.promote(older, "production", 1.0)
        assert candidates(there) == (older,)
        with pytest.raises(RefusedError, match="not on this platform"):
            _ = there.image
        there.standing.promote(newer, "production", 2.0)
        assert there.image == newer
        there.standing.promote(replace(older, version="6.10.5"), "production", 3.0)
        with pytest.raises(RefusedError, match=r"holds i:older, of 6\.10\.5"):
            candidates(there)


@pytest.mark.parametrize("there_is", [True, False])
def test_a_swap_goes_back_to_the_image_that_it_began_with_if_that_is_there(folder, there_is):
    lab = zone(wanted(3, "swap"))
    for _ in range(4):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    former = image("6.10.0")
    with cluster(folder) as there:
        images = {former.name: former.digest} if there_is else {}
        there.__dict__["platform"] = FakePlatform(images)
        there.catalogue.add(former)
        there.goals.save(goal_of(lab.wanted, 1.0))
        assert giveup._given_up(there).strategy == "swap"
        if there_is:
            plan = giveup._planned(there, lab.wanted, lab.observe())
            assert plan.actions[0].id == "swap:2:z-a3"
            assert plan.actions[0].node.image == former.name
        else:
            with pytest.raises(RefusedError, match="is not there any more"):
                giveup._planned(there, lab.wanted, lab.observe())


@pytest.mark.parametrize(("made", "first"), [(True, OLDER), (False, NEWER)])
def test_a_rollout_that_was_begun_goes_on_with_its_own_image(folder, made, first):
    """Its nodes show that it was; a note without any of them is of no use."""
    with cluster(folder) as there:
        platform = FakePlatform({OLDER.name: OLDER.digest})
        if made:
            platform.apply([NodeSpec("lab-b1", "10.0.0.21", OLDER.name, OLDER.digest, "b")])
        there.__dict__["platform"] = platform
        there.catalogue.add(OLDER)
        there.catalogue.add(NEWER)
        there.goals.save(Goal(OLDER.name, OLDER.digest, OLDER.version, 1.0))
        found = candidates(there)
        said = [note for note in there.reporter.notes if "did not come to its end" in note]
    assert found[0] == first
    assert bool(said) == made


def test_the_zone_is_asked_for_where_its_servers_were_when_the_rollout_began(folder):
    foreign = "http://192.0.2.7:2633/RPC2"
    with cluster(folder) as there:
        known = there.known_endpoints
        there.goals.save(Goal("i", "sha256:1", "7.0.2", 1.0, (foreign,)))
        assert there.known_endpoints == (*known, foreign)
        assert known[0] == there.vip_endpoint
        assert foreign not in known
