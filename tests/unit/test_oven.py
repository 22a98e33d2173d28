"""Baking: once a recipe, and only what passed its trial is kept."""

from collections.abc import Callable

import pytest
from tests.fakes.builder import FakeBuilder
from tests.fakes.platform import FakePlatform
from tests.fakes.reporter import ListReporter
from tests.fakes.store import MemoryStore

from onebaton.bake.catalogue import Catalogue
from onebaton.bake.oven import Oven
from onebaton.bake.trial import TrialFailedError, judge, read_facts, required_schema
from onebaton.errors import UnreadableError
from onebaton.model import Recipe, Schema

RECIPE = Recipe(
    version="6.10.0",
    platform="fake",
    base="mmdebstrap:bookworm",
    packages=(("opennebula", "6.10.0-1"),),
    ingredients=(("node.pkr.hcl", "aa"),),
)
#: What a booted image reports that is as it must be.
GOOD = """\
onebaton-fact unit-load loaded
onebaton-fact unit-active inactive
onebaton-fact unit-enabled disabled
onebaton-fact active-ssh active
onebaton-fact enabled-ssh enabled
onebaton-fact active-mariadb active
onebaton-fact enabled-mariadb enabled
onebaton-fact enabled-onebaton-first-boot enabled
onebaton-fact result-onebaton-first-boot success
onebaton-fact enabled-onebaton-host-keys enabled
onebaton-fact result-onebaton-host-keys success
onebaton-fact isolation READ-COMMITTED
onebaton-fact root-login without-password
onebaton-fact password-login no
onebaton-fact program-oned /usr/bin/oned
onebaton-fact program-onedb /usr/bin/onedb
onebaton-fact package opennebula 6.10.0-1
onebaton-fact package zstd 1.5.4+dfsg2-5
onebaton-fact machine-id 0123456789abcdef0123456789abcdef
onebaton-fact host-key /etc/ssh/ssh_host_ed25519_key
onebaton-fact looked yes
"""
#: `onedb version` of a newer release than its database, as recorded.
ONEDB = """\
onebaton-fact started active
Shared: 6.10.0
Local:  6.10.0
Required shared version: 7.0.0
Required local version:  6.99.0

Update required. Expected DB version is:
"""


class Kitchen:
    """An oven with everything around it."""

    def __init__(self) -> None:
        self.platform = FakePlatform({})
        self.builder = FakeBuilder(self.platform, RECIPE)
        self.store = MemoryStore()
        self.catalogue = Catalogue(self.store)
        self.reporter = ListReporter()
        self.oven = Oven(self.builder, self.platform, self.catalogue, self.reporter)
        self.show(GOOD, ONEDB)

    def show(self, look: str, start: str, status: int = 0) -> None:
        """What images of this kitchen show from now on."""
        self.platform.trial_answers = {"fact looked": (0, look), "onedb version": (status, start)}


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


def test_a_baked_image_is_in_the_catalogue_with_the_schema_it_requires(kitchen: Kitchen):
    baked = kitchen.oven.bake()
    assert baked.fresh
    assert baked.image.schema == Schema(shared="7.0.0", local="6.99.0")
    assert baked.image.recipe_digest == RECIPE.digest
    assert kitchen.catalogue.list() == (baked.image,)
    assert kitchen.builder.discarded == []


def test_the_same_recipe_is_not_baked_twice(kitchen: Kitchen):
    first = kitchen.oven.bake()
    second = kitchen.oven.bake()
    assert (second.image, second.fresh) == (first.image, False)
    assert len(kitchen.platform.images) == 1


def test_a_revoked_image_is_baked_again(kitchen: Kitchen):
    first = kitchen.oven.bake()
    oven = Oven(
        kitchen.builder,
        kitchen.platform,
        kitchen.catalogue,
        kitchen.reporter,
        unusable=[first.image.digest],
    )
    assert oven.bake().fresh


def test_force_bakes_it_again_and_keeps_the_earlier_image(kitchen: Kitchen):
    first = kitchen.oven.bake()
    second = kitchen.oven.bake(force=True)
    assert second.fresh
    assert kitchen.catalogue.list() == (first.image, second.image)
    assert kitchen.oven.bake().image == second.image


def test_another_recipe_is_baked(kitchen: Kitchen):
    kitchen.oven.bake()
    kitchen.builder.the_recipe = Recipe("6.10.0", "fake", "other:base", RECIPE.packages, ())
    assert kitchen.oven.bake().fresh


def test_an_image_that_the_platform_lost_is_baked_again(kitchen: Kitchen):
    kitchen.oven.bake()
    kitchen.platform.images.clear()
    assert kitchen.oven.bake().fresh


def test_an_unreadable_catalogue_stops_before_anything_is_built(kitchen: Kitchen):
    kitchen.store.write("images/x.json", b"{")
    with pytest.raises(UnreadableError):
        kitchen.oven.bake()
    assert kitchen.platform.images == {}


def test_an_image_that_fails_is_discarded_with_all_reasons(kitchen: Kitchen):
    look = GOOD.replace("unit-enabled disabled", "unit-enabled enabled")
    look = look.replace("READ-COMMITTED", "REPEATABLE-READ")
    kitchen.show(look, "opennebula.service does not start:\nno such file", status=1)
    with pytest.raises(TrialFailedError) as raised:
        kitchen.oven.bake()
    assert raised.value.details == (
        "opennebula.service is enabled, not disabled",
        "MariaDB's transaction isolation is REPEATABLE-READ, not READ-COMMITTED",
        "oned does not start (status 1)",
        "opennebula.service does not start:",
        "no such file",
    )
    assert kitchen.catalogue.list() == ()
    assert kitchen.platform.images == {}


@pytest.mark.parametrize(
    ("look", "start", "reason"),
    [
        ("sh: systemctl: not found\n", ONEDB, "broke off"),
        (GOOD.replace("onebaton-fact looked yes\n", ""), ONEDB, "broke off"),
        (GOOD, "Required shared version: 7.0.0\n", "required schema"),
        (GOOD, "", "required schema"),
    ],
)
def test_an_image_that_does_not_tell_is_not_trusted(
    kitchen: Kitchen, look: str, start: str, reason: str
):
    kitchen.show(look, start)
    with pytest.raises(TrialFailedError) as raised:
        kitchen.oven.bake()
    assert any(reason in line for line in raised.value.details)
    assert kitchen.platform.images == {}


def test_an_interrupted_trial_leaves_no_image(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch):
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(kitchen.reporter, "progress", interrupt)
    with pytest.raises(KeyboardInterrupt):
        kitchen.oven.bake()
    assert kitchen.platform.images == {}
    assert kitchen.catalogue.list() == ()


def _without(key: str) -> Callable[[str], str]:
    return lambda text: "".join(
        f"{line}\n" for line in text.splitlines() if f"onebaton-fact {key} " not in f"{line} "
    )


def _with(line: str) -> Callable[[str], str]:
    return lambda text: f"{text}onebaton-fact {line}\n"


def _changed(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_changed("unit-load loaded", "unit-load not-found"), "is not there"),
        (_changed("unit-active inactive", "unit-active active"), "must not start"),
        (_changed("unit-active inactive", "unit-active failed"), "must not start"),
        (_without("program-oned"), "oned is not in PATH"),
        (_without("program-onedb"), "onedb is not in PATH"),
        (_changed("active-ssh active", "active-ssh failed"), "ssh.service"),
        (_changed("active-mariadb active", "active-mariadb inactive"), "mariadb.service"),
        (_changed("enabled-ssh enabled", "enabled-ssh disabled"), "ssh.service"),
        (_changed("host-keys success", "host-keys exit-code"), "onebaton-host-keys.service"),
        (_changed("first-boot enabled", "first-boot disabled"), "onebaton-first-boot.service"),
        (_changed("password-login no", "password-login yes"), "PasswordAuthentication"),
        (_changed("without-password", "yes"), "PermitRootLogin"),
        (_changed("opennebula 6.10.0-1", "opennebula 6.10.5-1"), "opennebula is 6.10.5-1"),
        (_without("package"), "opennebula is not installed"),
        (_changed("0123456789abcdef0123456789abcdef", "uninitialized"), "machine-id"),
        (_without("host-key"), "no ssh host key"),
        (_with("old-host-key /etc/ssh/ssh_host_rsa_key"), "ssh_host_rsa_key is in the image"),
        (_with("left /var/lib/one/.one/one_auth"), "/var/lib/one/.one/one_auth is in the image"),
        (_with("credentials /etc/one/my_auth"), "/etc/one/my_auth is in the image"),
        (_with("source /etc/apt/sources.list"), "/etc/apt/sources.list is in the image"),
    ],
)
def test_each_fault_is_seen_by_itself(change: Callable[[str], str], problem: str):
    assert judge(read_facts(GOOD), RECIPE) == []
    (seen,) = judge(read_facts(change(GOOD)), RECIPE)
    assert problem in seen


def test_the_required_schema_is_read_from_what_was_recorded():
    text = "Shared: 6.10.0\nRequired shared version: 6.10.0\nRequired local version:  6.10.0\n"
    assert required_schema(text) == Schema("6.10.0", "6.10.0")
    assert required_schema("Required local version:  6.10.0\n") is None
