"""Which place and names a clone gets, what its own file says, what is refused before anything."""

import re
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from tests.fakes.store import MemoryStore

from onebaton.adapters.configfile import load, written
from onebaton.adapters.scrubrules import read
from onebaton.cloning import Clone, ClonePhase, Place, Production, ScrubRule
from onebaton.config import AwsPlatform, ClusterConfig
from onebaton.errors import ConfigError, RefusedError
from onebaton.plan.cloning import derived, free_subnet, layout, places, zone_name
from onebaton.rollout.cloning import clones_in, noted, remember, remembered
from onebaton.rollout.reporting import clone_row, label

CLUSTER = """\
zone:
  name: cloud
  vip: {address: 10.0.0.100/24}
  credentials: {password: {env: ONE_PASSWORD}}
image:
  version: 6.10.5
  channel: production
  repository: {url: /srv/packages}
network:
  subnet: 10.0.0.0/24
  generations: {a: [10.0.0.11, 10.0.0.12, 10.0.0.13], b: [10.0.0.21, 10.0.0.22, 10.0.0.23]}
platform: {kind: podman}
database: {password: {env: DB_PASSWORD}}
ssh: {key: key}
rollout: {probe: {rate_hz: 5}}
stages: {approve: [joined], windows: ["Sat 02:00-05:00 UTC"], hooks: {after: {joined: [page]}}}
notify: {url: {env: WEBHOOK}}
seed: {via: s3, bucket: s3://seeds-of-cloud/x}
clones: {subnets: [10.0.1.0/28, 10.0.1.16/28], size: 3, ttl: 12h}
"""
CLONE = Clone(
    name="try",
    zone="cloud-try",
    of="cloud",
    subnet="10.0.1.0/28",
    size=3,
    version="6.10.0",
    made_at=1_800_000_000.0,
    expires_at=1_800_043_200.0,
    ttl="12h",
)


@pytest.fixture
def production(tmp_path) -> ClusterConfig:
    return load(file(tmp_path, CLUSTER))


def file(folder, text):
    for name in ("key", "key.pub"):
        (folder / name).write_text("")
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def without_warning(text: str) -> str:
    """A clone's own file but for what it must be kept apart from."""
    return re.sub(r"  apart_from:\n(  - .*\n)+", "", text)


def test_a_clones_own_file_is_read_back_and_names_no_place_of_production(production, tmp_path):
    folder = tmp_path / "clones ${HOME}" / "try"
    folder.mkdir(parents=True)
    text = written(derived(production, CLONE, folder), head="Written by onebaton.")
    path = folder / "cluster.yaml"
    path.write_text(text)
    own = load(path, environ={})
    assert "10.0.0." not in without_warning(text)
    assert "ONE_PASSWORD" not in text
    assert "DB_PASSWORD" not in text
    assert (own.zone.name, own.zone.size, str(own.zone.vip.address)) == (
        "cloud-try",
        3,
        "10.0.1.2/28",
    )
    assert own.zone.credentials.password.file == folder / "oneadmin_password"
    assert own.image.version == "6.10.0"
    assert own.image.channel is None
    assert [str(a) for a in own.network.generations["b"]] == ["10.0.1.6", "10.0.1.7", "10.0.1.8"]
    assert own.state == f"{production.state}/clones/try"
    assert own.local_folder == folder
    assert own.clone is not None
    assert (own.clone.of, own.clone.images, own.clone.fence) == (
        "cloud",
        production.state,
        "platform",
    )
    assert own.clones is None
    # Nobody is told of it or asked, and its machines could not reach an object store.
    default = ClusterConfig.model_fields
    for section in ("stages", "notify", "seed"):
        assert getattr(own, section) == default[section].default
    assert own.rollout == production.rollout
    assert own.ssh == production.ssh


AWS = """\
platform:
  kind: aws
  region: eu-central-1
  vpc_id: vpc-00000001
  subnets: [{id: subnet-00000001, cidr: 10.0.0.0/24}]
  access: {operators: [10.9.0.0/24], clients: [10.8.0.0/24], hypervisors: [10.7.0.0/24]}
  address: {via: elastic-ip, allocation_id: eipalloc-00000001}
  instance_profile: moves-the-address
  tags: {team: cloud}
  clones:
    vpc_id: vpc-00000002
    subnets: [{id: subnet-00000002, cidr: 10.0.1.0/28}, {id: subnet-00000003, cidr: 10.0.1.16/28}]
    endpoints: [10.0.1.32/28]
"""
ON_AWS = CLUSTER.replace("platform: {kind: podman}\n", AWS).replace("10.0.0.100/24", "1.2.3.4/32")


def on_aws(folder, clone=CLONE, text=ON_AWS) -> ClusterConfig:
    """What the file of a clone on AWS says."""
    path = folder / "clone.yaml"
    path.write_text(written(derived(load(file(folder, text)), clone, folder), head="Written."))
    assert "10.0.0." not in without_warning(path.read_text())
    return load(path, environ={})


def test_on_aws_a_clone_is_in_its_own_vpc_and_may_do_nothing_to_production(tmp_path):
    own = on_aws(tmp_path)
    platform = own.platform
    assert isinstance(platform, AwsPlatform)
    assert (platform.vpc_id, platform.subnets[0].id, len(platform.subnets)) == (
        "vpc-00000002",
        "subnet-00000002",
        1,
    )
    assert platform.access.hypervisors == ()
    assert (platform.address.via, platform.address.allocation_id) == ("secondary-private-ip", None)
    # It gets one that may move the clone's address alone.
    assert platform.instance_profile is None
    assert platform.clones is None
    # As configured for production:
    assert (platform.tags, str(platform.access.operators[0])) == ({"team": "cloud"}, "10.9.0.0/24")
    assert str(own.zone.vip.address) == "10.0.1.4/28"
    assert own.clone is not None
    assert [str(cidr) for cidr in own.clone.apart_from] == ["10.0.0.0/24", "10.7.0.0/24"]
    assert [str(cidr) for cidr in own.clone.reaches] == ["10.0.1.32/28"]


def test_on_aws_a_clone_has_the_profile_that_is_meant_for_clones(tmp_path):
    text = ON_AWS.replace(
        "    vpc_id: vpc-00000002", "    instance_profile: of-clones\n    vpc_id: vpc-00000002"
    )
    platform = on_aws(tmp_path, text=text).platform
    assert isinstance(platform, AwsPlatform)
    assert platform.instance_profile == "of-clones"


def test_a_clone_whose_place_is_no_more_configured_is_refused(tmp_path):
    production = load(file(tmp_path, ON_AWS))
    with pytest.raises(RefusedError, match="where the clone try is on AWS is not configured"):
        derived(production, replace(CLONE, subnet="10.0.1.64/28"), tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    vpc_id: vpc-00000002",
            "    vpc_id: vpc-00000001",
            "is the zone's own VPC, where everything has",
        ),
        (
            "    vpc_id: vpc-00000002",
            "    vpc_id: vpc-00000002\n    instance_profile: moves-the-address",
            "is the zone's own, which may move the zone's address",
        ),
        ("10.0.1.16/28]", "10.0.1.48/28]", "10.0.1.48/28 is none of platform.clones.subnets"),
        ("[10.0.1.32/28]", "[10.0.0.128/25]", "overlaps network.subnet (10.0.0.0/24)"),
        ("[10.0.1.32/28]", "[10.7.0.0/16]", "platform.access.hypervisors[0] (10.7.0.0/24)"),
        (AWS[AWS.index("  clones:") :], "", "platform.clones: is missing: clones are in a VPC of"),
    ],
)
def test_a_place_of_clones_on_aws_that_is_not_apart_is_told_of(tmp_path, old, new, message):
    assert old in ON_AWS
    with pytest.raises(ConfigError) as caught:
        load(file(tmp_path, ON_AWS.replace(old, new)))
    assert len(caught.value.details) == 1
    assert message in caught.value.details[0]


def test_a_vpc_that_somebody_else_keeps_apart_may_be_the_zones_own(tmp_path):
    text = ON_AWS.replace("    vpc_id: vpc-00000002", "    vpc_id: vpc-00000001").replace(
        "ttl: 12h}", "ttl: 12h, fence: own}"
    )
    assert on_aws(tmp_path, text=text).clone.fence == "own"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("10.0.1.0/28,", "10.0.0.128/28,", "overlaps network.subnet (10.0.0.0/24)"),
        ("10.0.1.16/28]", "10.0.1.8/29]", "overlaps clones.subnets[0] (10.0.1.0/28)"),
        ("10.0.1.16/28]", "10.0.2.0/29]", "10.0.2.0/29 is too small for two generations of 3"),
        ("ttl: 12h", "ttl: tomorrow", "clones.ttl: must be a number of minutes, hours"),
        ("ttl: 12h", "scrub: none.yaml", "clones.scrub: there is no file"),
        ("ttl: 12h", "fence: none", "clones.fence: must be 'platform' or 'own'"),
    ],
)
def test_what_cannot_be_of_clones_is_told_with_its_line(tmp_path, old, new, message):
    assert old in CLUSTER
    with pytest.raises(ConfigError) as caught:
        load(file(tmp_path, CLUSTER.replace(old, new)))
    assert any(message in detail for detail in caught.value.details), caught.value.details


def test_each_clone_has_a_subnet_of_its_own():
    subnets = [IPv4Network("10.0.1.0/28"), IPv4Network("10.0.1.16/28")]
    assert free_subnet(subnets, {}) == subnets[0]
    assert free_subnet(subnets, {"10.0.1.0/28": "a"}) == subnets[1]
    with pytest.raises(RefusedError) as caught:
        free_subnet(subnets, {"10.0.1.0/28": "a", "10.0.1.16/28": "b"})
    assert caught.value.details == ("10.0.1.0/28 is the clone a's", "10.0.1.16/28 is the clone b's")


def test_addresses_follow_the_gateways():
    places_of = layout(IPv4Network("10.0.1.0/28"), 3, taken=1)
    assert places_of.vip == "10.0.1.2"
    assert places_of.a == ("10.0.1.3", "10.0.1.4", "10.0.1.5")
    with pytest.raises(RefusedError, match="too small"):
        layout(IPv4Network("10.0.1.0/29"), 3, taken=1)
    # AWS keeps the first four, and the last.
    on_aws = layout(IPv4Network("10.0.1.0/28"), 5, taken=3)
    assert (on_aws.vip, on_aws.b[-1]) == ("10.0.1.4", "10.0.1.14")


@pytest.mark.parametrize("name", ["Try", "t_y", "x" * 40])
def test_a_clone_has_a_name_that_its_machines_can_carry(name):
    with pytest.raises(RefusedError, match="no clone can be called"):
        zone_name("cloud", name)


def test_every_machine_of_production_is_tried_where_it_would_answer():
    tried = places(["10.0.0.11"], ["host-1"], port=2634, ssh_ports={22, 2222})
    assert Place("10.0.0.11", 2634) in tried
    assert {place.port for place in tried if place.address == "host-1"} == {22, 2222}
    assert {place.port for place in tried if place.address == "10.0.0.11"} > {2634, 22, 2222, 9869}


def test_clones_are_noted_with_their_zones_state():
    store = MemoryStore()
    assert clones_in(store) == ()
    noted(store, "try").save(CLONE)
    later = replace(CLONE, name="b", phase=ClonePhase.READY, source="cloud-a2", dump="s3://b/k")
    noted(store, "b").save(later)
    store.write("clones/try/reports/clone.json", b"{}")
    assert clones_in(store) == (later, CLONE)


def test_what_a_copy_is_compared_with_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "production.json"
    production = Production(("10.0.0.11",), ("h",), "key", frozenset({"ab", "cd"}))
    remember(production, path)
    assert remembered(path) == production
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{")
    with pytest.raises(RefusedError, match="is not there"):
        remembered(path)


def test_a_status_says_what_a_clone_is():
    clone = replace(CLONE, source="cloud-a2", phase=ClonePhase.READY)
    assert label(clone, clone.made_at) == (
        "this is the clone try of the zone cloud, made at 2027-01-15 08:00 UTC of cloud-a2; it "
        "expires at 2027-01-15 20:00 UTC"
    )
    assert clone_row(clone, clone.expires_at).expired is True
    assert clone_row(clone, clone.expires_at - 1).expired is False


def rules(folder, text):
    path = folder / "rules.yaml"
    path.write_text(text)
    return read(path)


def test_rules_are_read_in_their_order(tmp_path):
    found = rules(
        tmp_path,
        "rules:\n- {table: user_pool, element: //EMAIL, action: blank}\n"
        "- {table: user_pool, element: /USER/NAME, action: replace, with: 'u{id}'}\n",
    )
    assert found == (
        ScrubRule("user_pool", "//EMAIL", "blank"),
        ScrubRule("user_pool", "/USER/NAME", "replace", "u{id}"),
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{table: user_pool, element: EMAIL, action: blank}", "named by its path"),
        ("{table: logdb, element: //A, action: blank}", "no table with objects"),
        ("{table: user_pool, element: //A, action: replace}", "stands beside action: replace"),
        ("{table: user_pool, element: //A, action: hash, with: x}", "stands beside action"),
        ("{table: user_pool, element: /USER/NAME, action: blank}", "names must differ"),
        ("{table: user_pool, element: //A, action: drop}", "rules.0.action"),
    ],
)
def test_all_mistakes_of_rules_are_told(tmp_path, rule, message):
    with pytest.raises(ConfigError) as caught:
        rules(tmp_path, f"rules:\n- {rule}\n- {{table: x_pool, element: Y, action: blank}}\n")
    assert len(caught.value.details) == 2
    assert message in caught.value.details[0]
