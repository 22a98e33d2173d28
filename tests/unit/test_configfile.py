"""cluster.yaml: each mistake is told once, at its line, and none hides another."""

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from onebaton.adapters.configfile import load, schema
from onebaton.config import AwsPlatform, PodmanPlatform
from onebaton.errors import ConfigError, Status

GOOD = """\
zone:
  name: lab
  size: 3
  vip:
    address: 10.0.0.100/24
    interface: eth0
  credentials:
    password:
      file: secret
image:
  version: 6.10.5
  repository:
    url: packages
  packages: [opennebula]
  scripts: [more.sh]
platform:
  kind: podman
network:
  subnet: 10.0.0.0/24
  generations:
    a: [10.0.0.11, 10.0.0.12, 10.0.0.13]
    b: [10.0.0.21, 10.0.0.22, 10.0.0.23]
ssh:
  key: id
oned:
  election_timeout_ms: 5000
rollout:
  strategy: surge
  steered_election_timeout_ms: 1000
state: states
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with all the files that GOOD names; the working folder is another one."""
    home = tmp_path / "cluster"
    home.mkdir()
    for name in ("id", "id.pub", "more.sh", "key.asc"):
        (home / name).write_text("")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return home


def write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str, *, version: str | None = None) -> list[str]:
    """``LINE: key: message`` of each mistake."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(path, version=version, environ={})
    assert caught.value.status is Status.CONFIG
    assert caught.value.resolution
    return [
        detail.replace(f"{path}:", "").replace(f"{folder}/", "") for detail in caught.value.details
    ]


def test_a_good_file_is_read_whole(folder):
    config = load(write(folder, GOOD), environ={})
    assert config.zone.size == 3
    assert config.network.generations["b"][2] == IPv4Address("10.0.0.23")
    assert config.rollout.gates.max_lag_records == 50


def test_relative_paths_start_at_the_folder_of_the_file(folder):
    config = load(write(folder, GOOD), environ={})
    assert config.ssh.key == folder / "id"
    assert config.zone.credentials.password.file == folder / "secret"
    assert config.image.scripts == (folder / "more.sh",)
    assert config.image.repository.url == str(folder / "packages")
    assert config.state == str(folder / "states")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://example.org/repo", "https://example.org/repo"),
        ("file:///srv/packages", "/srv/packages"),
        ("/srv/packages", "/srv/packages"),
    ],
)
def test_a_repository_is_an_address_or_an_absolute_folder(folder, written, meant):
    text = GOOD.replace("url: packages", f"url: {written}\n    key: key.asc")
    assert load(write(folder, text), environ={}).image.repository.url == meant


#: What is changed in GOOD, and every mistake that is then told.
CASES = {
    "unknown key": ("  size: 3", "  sise: 3", ["3: zone.sise: unknown key; did you mean size?"]),
    "unknown key like none": (
        "  kind: podman",
        "  kind: podman\n  xyz: 1",
        ["18: platform.xyz: unknown key; known here: kind, memory_mib"],
    ),
    "unknown section": (
        "oned:\n",
        "roll:\n",
        ["25: roll: unknown key; did you mean rollout?"],
    ),
    "missing key": ("  name: lab\n", "", ["1: zone.name: is missing"]),
    "unknown platform": (
        "  kind: podman",
        "  kind: lxd",
        ["17: platform.kind: must be 'podman' or 'aws'"],
    ),
    "platform that is none": (
        "platform:\n  kind: podman",
        "platform: 3",
        ["16: platform: must hold keys of its own"],
    ),
    "missing section": ("platform:\n  kind: podman\n", "", ["1: platform: is missing"]),
    "key with nothing": ("  name: lab", "  name:", ["2: zone.name: is missing"]),
    "key twice": (
        "  kind: podman",
        "  kind: podman\n  kind: podman",
        ["18: platform.kind: is here twice, first in line 17"],
    ),
    "size 2": (
        "size: 3",
        "size: 2",
        [
            "3: zone.size: 2 servers survive no more failures than 1: a Raft zone needs an odd "
            "number (1, 3, 5, 7 or 9)"
        ],
    ),
    "size 11": ("size: 3", "size: 11", ["3: zone.size: must be 1, 3, 5, 7 or 9"]),
    "size in quotes": ("size: 3", "size: '3'", ["3: zone.size: must be 1, 3, 5, 7 or 9"]),
    "size 5": (
        "size: 3",
        "size: 5",
        [
            "21: network.generations.a: has 3 addresses, and zone.size takes 5",
            "22: network.generations.b: has 3 addresses, and zone.size takes 5",
        ],
    ),
    "name": (
        "name: lab",
        "name: Lab_1",
        [
            "2: zone.name: must start with a letter and hold only lower-case letters, digits and "
            "hyphens, 40 at most"
        ],
    ),
    "version as a number": (
        "6.10.5",
        "6.10",
        ["11: image.version: must be text; put a number in quotes"],
    ),
    "half a version": (
        "6.10.5",
        "'6.10'",
        ["11: image.version: must be a whole version such as 6.10.0"],
    ),
    "a secret in the file": (
        "password:\n      file: secret",
        "password: hunter2",
        [
            "8: zone.credentials.password: a secret does not stand here: say where it is, with "
            "one of file, env, command, ssm, secretsmanager"
        ],
    ),
    "no name of a parameter": (
        "file: secret",
        "ssm: a b",
        [
            "9: zone.credentials.password.ssm: must be the name of a parameter, such as "
            "/cloud/oneadmin, or its ARN"
        ],
    ),
    "no name of a secret": (
        "file: secret",
        "secretsmanager: 'cloud#a#b'",
        [
            "9: zone.credentials.password.secretsmanager: must be the name of a secret or its "
            "ARN, and may have #KEY behind it"
        ],
    ),
    "seeds through S3 without a bucket": (
        "state: states",
        "seed:\n  via: s3",
        ["31: seed.via: seeds through S3 need seed.bucket, or a `state` in s3://"],
    ),
    "seeds through S3 beside a folder": (
        "state: states",
        "state: states\nseed:\n  via: s3",
        ["32: seed.via: seeds through S3 need seed.bucket, or a `state` in s3://"],
    ),
    "a bucket of seeds through ssh": (
        "state: states",
        "seed:\n  bucket: s3://seeds/lab",
        ["31: seed.bucket: is for seed.via s3; chosen is ssh"],
    ),
    "a bucket that is none": (
        "state: states",
        "seed:\n  via: s3\n  bucket: seeds",
        ["32: seed.bucket: must be s3://BUCKET/PREFIX"],
    ),
    "another way of seeding": (
        "state: states",
        "seed:\n  via: ftp",
        ["31: seed.via: must be 'ssh' or 's3'"],
    ),
    "two places of a secret": (
        "file: secret",
        "file: secret\n      env: SECRET",
        [
            "8: zone.credentials.password: give exactly one of file, env, command, ssm, "
            "secretsmanager"
        ],
    ),
    "VIP without prefix": (
        "10.0.0.100/24",
        "10.0.0.100",
        [
            "5: zone.vip.address: '10.0.0.100' is not an IPv4 address with its prefix, such as "
            "10.0.0.100/24"
        ],
    ),
    "VIP outside": (
        "10.0.0.100/24",
        "10.0.9.100/24",
        ["5: zone.vip.address: 10.0.9.100 is outside the subnet 10.0.0.0/24"],
    ),
    "VIP is the subnet": (
        "10.0.0.100/24",
        "10.0.0.0/24",
        ["5: zone.vip.address: 10.0.0.0 is the address of the subnet itself"],
    ),
    "VIP is broadcast": (
        "10.0.0.100/24",
        "10.0.0.255/24",
        ["5: zone.vip.address: 10.0.0.255 is the broadcast address of 10.0.0.0/24"],
    ),
    "VIP is the gateway": (
        "10.0.0.100/24",
        "10.0.0.1/24",
        ["5: zone.vip.address: 10.0.0.1, the first of 10.0.0.0/24, is its gateway"],
    ),
    "VIP is a node's": (
        "10.0.0.100/24",
        "10.0.0.22/24",
        [
            "22: network.generations.b[1]: 10.0.0.22 is already the zone's virtual IP "
            "(zone.vip.address)"
        ],
    ),
    "no address": (
        "10.0.0.12,",
        "10.0.0.512,",
        ["21: network.generations.a[1]: '10.0.0.512' is not an IPv4 address"],
    ),
    "a number for an address": (
        "10.0.0.12,",
        "12,",
        ["21: network.generations.a[1]: 12 is not an IPv4 address"],
    ),
    "address outside": (
        "10.0.0.12,",
        "10.0.1.12,",
        ["21: network.generations.a[1]: 10.0.1.12 is outside the subnet 10.0.0.0/24"],
    ),
    "address twice in one": (
        "10.0.0.12,",
        "10.0.0.11,",
        ["21: network.generations.a[1]: 10.0.0.11 is already an address of generation a"],
    ),
    "address in both": (
        "10.0.0.22,",
        "10.0.0.13,",
        ["22: network.generations.b[1]: 10.0.0.13 is already an address of generation a"],
    ),
    "too few addresses": (
        ", 10.0.0.23]",
        "]",
        ["22: network.generations.b: has 2 addresses, and zone.size takes 3"],
    ),
    "one generation": (
        "    b: [10.0.0.21, 10.0.0.22, 10.0.0.23]\n",
        "",
        [
            "20: network.generations.b: is missing: while generation a serves, b is free for the "
            "next nodes"
        ],
    ),
    "a third generation": (
        "ssh:\n",
        "    c: []\nssh:\n",
        ["23: network.generations.c: must be 'a' or 'b'"],
    ),
    "subnet of an address": (
        "subnet: 10.0.0.0/24",
        "subnet: 10.0.0.5/24",
        [
            "19: network.subnet: '10.0.0.5/24' is an address within a subnet; did you mean "
            "10.0.0.0/24?"
        ],
    ),
    "no subnet": (
        "subnet: 10.0.0.0/24",
        "subnet: lan",
        ["19: network.subnet: 'lan' is not an IPv4 subnet, such as 10.0.0.0/24"],
    ),
    "steered too soon": (
        "election_timeout_ms: 5000",
        "election_timeout_ms: 5000\n  broadcast_timeout_ms: 501",
        [
            "30: rollout.steered_election_timeout_ms: the steered timeout 1000 is less than twice "
            "oned.broadcast_timeout_ms (501): the node would start elections against a healthy "
            "leader"
        ],
    ),
    "steered too late": (
        "steered_election_timeout_ms: 1000",
        "steered_election_timeout_ms: 5000",
        [
            "29: rollout.steered_election_timeout_ms: the steered timeout 5000 is not below "
            "oned.election_timeout_ms (5000): the node would not be the first to stand for election"
        ],
    ),
    "too late by default": (
        "  election_timeout_ms: 5000\nrollout:\n  strategy: surge\n"
        "  steered_election_timeout_ms: 1000\n",
        "  election_timeout_ms: 1000\n",
        [
            "26: oned.election_timeout_ms: the steered timeout 1000 is not below "
            "oned.election_timeout_ms (1000): the node would not be the first to stand for election"
        ],
    ),
    "outage shorter than an election": (
        "strategy: surge",
        "max_outage_s: 1.0",
        [
            "28: rollout.max_outage_s: no cut-over ends within 1 s: the steered timeout alone, "
            "after which the new node stands for election, is 1000 ms"
        ],
    ),
    "outage of no time": (
        "strategy: surge",
        "max_outage_s: 0",
        ["28: rollout.max_outage_s: must be more than 0.0"],
    ),
    "no way of cutting over": (
        "strategy: surge",
        "cut: clean",
        ["28: rollout.cut: must be 'auto', 'stand-by' or 'plain'"],
    ),
    "unknown strategy": (
        "surge",
        "rolling",
        ["28: rollout.strategy: must be 'surge', 'one-by-one' or 'swap'"],
    ),
    "no ssh key": ("key: id", "key: gone", ["24: ssh.key: there is no file gone"]),
    "no public half": ("key: id", "key: more.sh", ["24: ssh.key: there is no file more.sh.pub"]),
    "no script": ("more.sh", "gone.sh", ["15: image.scripts[0]: there is no file gone.sh"]),
    "no repository key": (
        "url: packages",
        "url: packages\n    key: gone",
        ["14: image.repository.key: there is no file gone"],
    ),
    "repository without key": (
        "url: packages",
        "url: https://example.org/",
        ["12: image.repository.key: is missing: only a local folder may go without a public key"],
    ),
    "repository nowhere": (
        "url: packages",
        "url: ftp://example.org/",
        ["13: image.repository.url: must be an http or https address, or a local folder"],
    ),
    "suite without components": (
        "url: packages",
        "url: packages\n    suite: stable",
        [
            "12: image.repository.components: is missing: the suite stable has components (a flat "
            "repository's suite is ./)"
        ],
    ),
    "variable that is not set": (
        "url: packages",
        "url: ${REPO}/x",
        ["13: image.repository.url: the environment variable REPO is not set"],
    ),
    "variable of no name": (
        "url: packages",
        "url: '${re po}'",
        ["13: image.repository.url: ${re po} does not name an environment variable"],
    ),
    "variable in an address": (
        "10.0.0.100/24",
        "${VIP}",
        ["5: zone.vip.address: the environment variable VIP is not set"],
    ),
    "text for a section": ("ssh:\n  key: id", "ssh: id", ["23: ssh: must hold keys of its own"]),
    "text for a list": ("[opennebula]", "opennebula", ["14: image.packages: must be a list"]),
    "empty list": ("[opennebula]", "[]", ["14: image.packages: must hold at least one entry"]),
    "a package's name": (
        "[opennebula]",
        "[opennebula, 'a b', opennebula-flow=6.10.0-1]",
        [
            f"14: image.packages[{n}]: must be the name of a Debian package; its version is "
            "image.version"
            for n in (1, 2)
        ],
    ),
    "out of range": (
        "steered_election_timeout_ms: 1000",
        "steered_election_timeout_ms: 999",
        [
            "29: rollout.steered_election_timeout_ms: must be 1000 or more",
            "29: rollout.steered_election_timeout_ms: the steered timeout 999 is less than twice "
            "oned.broadcast_timeout_ms (500): the node would start elections against a healthy "
            "leader",
        ],
    ),
    "a value that refers to itself": (
        "[opennebula]",
        "&x [opennebula, *x]",
        ["14: image.packages[1]: refers to itself"],
    ),
    "a tag": (
        "name: lab",
        "name: !secret lab",
        ["2: zone.name: has a value that YAML cannot read"],
    ),
    "broken YAML": (
        "  size: 3",
        "  size: [3",
        ["4: this is not YAML: expected ',' or ']', but got ':'"],
    ),
    "a tabulator": (
        "  size: 3",
        "\tsize: 3",
        ["3: this is not YAML: found character '\\t' that cannot start any token"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_once_with_its_line(folder, name):
    old, new, expected = CASES[name]
    assert GOOD.count(old) >= 1
    assert mistakes(folder, GOOD.replace(old, new, 1)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- 1", "the file holds no keys"),
    ],
)
def test_a_file_without_keys(folder, text, expected):
    assert mistakes(folder, text) == [f"1: {expected}"]


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(folder):
    text = (
        GOOD.replace("size: 3", "size: 4")
        .replace("6.10.5", "six")
        .replace("10.0.0.12,", "10.0.0.21,")
        .replace("key: id", "kee: id")
        .replace("surge", "fast")
    )
    found = [detail.split(": ")[:2] for detail in mistakes(folder, text)]
    assert found == [
        ["3", "zone.size"],
        ["11", "image.version"],
        ["22", "network.generations.b[0]"],
        ["23", "ssh.key"],
        ["24", "ssh.kee"],
        ["28", "rollout.strategy"],
    ]


def test_variables_are_replaced_and_can_be_written_plainly(folder):
    text = GOOD.replace("url: packages", "url: ${BASE}/$${x}").replace("id\n", "${KEY}\n")
    config = load(write(folder, text), environ={"BASE": "/srv", "KEY": "id"})
    assert config.image.repository.url == "/srv/${x}"
    assert config.ssh.key == folder / "id"


def test_the_command_line_replaces_version_and_state(folder, tmp_path):
    text = GOOD.replace("6.10.5", "${UNSET}")
    config = load(write(folder, text), version="7.0.2", state="mine", environ={})
    assert config.image.version == "7.0.2"
    assert config.state == str(tmp_path / "elsewhere" / "mine")


def test_without_a_word_everything_is_in_one_folder(folder):
    config = load(write(folder, GOOD), environ={})
    assert config.local is None
    assert config.local_folder == folder / "states"


def test_the_state_in_s3_leaves_a_folder_here(folder):
    text = GOOD.replace("state: states", "state: s3://zones/prod/lab/")
    config = load(write(folder, text), environ={})
    assert config.state == "s3://zones/prod/lab"
    assert config.local_folder == folder / ".onebaton"
    config = load(write(folder, text + "local: here\n"), environ={})
    assert config.local_folder == folder / "here"
    config = load(write(folder, text), state="mine", environ={})
    assert config.local_folder == Path(config.state) == Path("mine").absolute()
    config = load(write(folder, GOOD), state="s3://zones", environ={})
    assert (config.state, config.local_folder) == ("s3://zones", folder / ".onebaton")


NO_BUCKET = "must be a folder, or s3://BUCKET/PREFIX with the name of a bucket"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("s3://", NO_BUCKET),
        ("s3:///x", NO_BUCKET),
        ("s3://Zones/x", NO_BUCKET),
        ("s3://user:password@zones/x", NO_BUCKET),
        ("https://zones/x", NO_BUCKET),
        ("s3://zones/a//b", "the prefix behind the bucket must"),
        ("s3://zones/../b", "the prefix behind the bucket must"),
        ("s3://zones/a?b", "the prefix behind the bucket must"),
    ],
)
def test_a_place_that_is_none_is_told(folder, state, message):
    (found,) = mistakes(folder, GOOD.replace("state: states", f"state: {state}"))
    assert found.startswith(f"30: state: {message}")
    with pytest.raises(ConfigError) as caught:
        load(write(folder, GOOD), state=state, environ={})
    assert caught.value.details[0].startswith(f"--state: state: {message}")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("encryption: none", ["32: s3.encryption: must be 'AES256', 'aws:kms' or 'bucket'"]),
        ("timeout_s: 0", ["32: s3.timeout_s: must be more than 0.0"]),
        ("region: EU 1", ["32: s3.region: must be the name of a region, such as eu-central-1"]),
        (
            "kms_key_id: k",
            ["32: s3.kms_key_id: is for s3.encryption aws:kms; chosen is AES256"],
        ),
        (
            "endpoint_url: minio:9000",
            [
                "32: s3.endpoint_url: must be an http or https address, such as "
                "https://minio.example.org:9000"
            ],
        ),
        (
            "endpoint_url: https://u:secret@minio:9000",
            [
                "32: s3.endpoint_url: must hold no user and no password: keys come from the usual "
                "AWS places"
            ],
        ),
        ("endpoint: x", ["32: s3.endpoint: unknown key; did you mean endpoint_url?"]),
    ],
)
def test_mistakes_in_the_object_store_are_told(folder, settings, expected):
    assert mistakes(folder, f"{GOOD}s3:\n  {settings}\n") == expected


def test_a_wrong_version_of_the_command_line_is_not_laid_on_the_file(folder):
    assert mistakes(folder, GOOD, version="new") == [
        "--version: image.version: must be a whole version such as 6.10.0"
    ]


def test_the_file_is_not_there(folder):
    with pytest.raises(ConfigError, match="there is no configuration file") as caught:
        load(folder / "none.yaml")
    assert "onebaton init" in str(caught.value.resolution)


def test_the_file_is_not_text(folder):
    (folder / "cluster.yaml").write_bytes(b"zone: \xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(folder / "cluster.yaml")


@pytest.mark.parametrize(
    "new",
    [
        "password: hunter2",
        "password: {value: hunter2}",
        "password: {file: [hunter2]}",
        "password: [hunter2",
        "password: {hunter2}",
        "password: !x hunter2",
        'password: "hunter2',
    ],
)
def test_what_might_be_a_secret_is_never_repeated(folder, new):
    text = GOOD.replace("password:\n      file: secret", new)
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(path, environ={})
    error = caught.value
    shown = [error.message, str(error), repr(error), str(error.resolution), *error.details]
    # A key is named, for it may be a mistyped one; here it is the secret itself.
    known = [line for line in shown if "unknown key" not in line]
    assert "hunter2" not in "".join(known)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_the_schema_describes_every_key():
    whole = json.loads(json.dumps(schema()))
    sections: dict = {"cluster": whole, **whole["$defs"]}
    missing = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, value in section["properties"].items()
        if "description" not in value | sections.get(value.get("$ref", "/").split("/")[-1], {})
    ]
    assert missing == []
    assert whole["required"] == ["zone", "image", "platform", "network", "ssh"]
    assert whole["additionalProperties"] is False


AWS = """\
platform:
  kind: aws
  region: eu-central-1
  vpc_id: vpc-0a1b2c3d
  subnets:
    - {id: subnet-0a1b2c3d, cidr: 10.0.0.0/25}
  access:
    operators: [10.9.0.0/16]
  address:
    via: secondary-private-ip
  tags: {}
"""
ON_AWS = GOOD.replace("platform:\n  kind: podman\n", AWS)
ELASTIC = "via: elastic-ip\n    allocation_id: eipalloc-0a1b2c3d"
TWO_SUBNETS = "10.0.0.0/25}\n    - {id: subnet-1a1b2c3d, cidr: 10.0.0.128/25}"


def test_nodes_on_aws_are_read_whole(folder):
    config = load(write(folder, ON_AWS), environ={})
    platform = config.platform
    assert isinstance(platform, AwsPlatform)
    assert [(s.id, str(s.cidr)) for s in platform.subnets] == [("subnet-0a1b2c3d", "10.0.0.0/25")]
    assert platform.address.via == "secondary-private-ip"
    assert platform.source_ami.owner == "136693071363"


def test_an_elastic_ip_serves_nodes_in_several_subnets(folder):
    text = (
        ON_AWS.replace("10.0.0.0/25}", TWO_SUBNETS)
        .replace(
            "via: secondary-private-ip", "via: elastic-ip\n    allocation_id: eipalloc-0a1b2c3d"
        )
        .replace("10.0.0.100/24", "198.51.100.7/32")
        .replace("10.0.0.23]", "10.0.0.223]")
    )
    config = load(write(folder, text), environ={})
    assert isinstance(config.platform, AwsPlatform)
    assert config.platform.address.allocation_id == "eipalloc-0a1b2c3d"


def test_a_platform_without_a_kind_is_the_machine_at_hand(folder):
    text = GOOD.replace("  kind: podman", "  memory_mib: 2048")
    assert load(write(folder, text), environ={}).platform == PodmanPlatform(memory_mib=2048)


#: The same on aws.
AWS_CASES = {
    "unknown key": (
        "  kind: aws",
        "  kind: aws\n  regoin: x",
        ["18: platform.regoin: unknown key; did you mean region?"],
    ),
    "unknown key of a subnet": (
        "cidr: 10.0.0.0/25}",
        "cidr: 10.0.0.0/25, zone: a}",
        ["21: platform.subnets[0].zone: unknown key; known here: id, cidr"],
    ),
    "missing key": ("  vpc_id: vpc-0a1b2c3d\n", "", ["16: platform.vpc_id: is missing"]),
    "no such id": (
        "vpc-0a1b2c3d",
        "myvpc",
        ["19: platform.vpc_id: must be an id as AWS gives them, such as vpc-0a1b2c3d4e5f67890"],
    ),
    "nobody may reach it": (
        "operators: [10.9.0.0/16]",
        "operators: []",
        ["23: platform.access.operators: must hold at least one entry"],
    ),
    "a tag of AWS's": (
        "tags: {}",
        "tags: {Name: x}",
        ["26: platform.tags.Name: is a tag that AWS or onebaton sets"],
    ),
    "a base": (
        "  version: 6.10.5",
        "  version: 6.10.5\n  base: debian",
        ["12: image.base: is for other platforms: on aws it is platform.source_ami"],
    ),
    "node in no subnet": (
        "10.0.0.23]",
        "10.0.0.200]",
        ["31: network.generations.b[2]: 10.0.0.200 is in none of platform.subnets"],
    ),
    "an address that AWS keeps": (
        "[10.0.0.11,",
        "[10.0.0.3,",
        ["30: network.generations.a[0]: 10.0.0.3 of 10.0.0.0/25 is kept by AWS for itself"],
    ),
    "subnet elsewhere": (
        "cidr: 10.0.0.0/25}",
        "cidr: 10.0.0.0/25}\n    - {id: subnet-1a1b2c3d, cidr: 10.1.0.0/25}",
        [
            "20: platform.subnets: are several, and a private address cannot leave its own: "
            "take one subnet, or platform.address.via elastic-ip",
            "22: platform.subnets[1].cidr: 10.1.0.0/25 is outside network.subnet 10.0.0.0/24",
        ],
    ),
    "subnets that overlap": (
        "cidr: 10.0.0.0/25}",
        "cidr: 10.0.0.0/25}\n    - {id: subnet-1a1b2c3d, cidr: 10.0.0.64/26}",
        [
            "20: platform.subnets: are several, and a private address cannot leave its own: "
            "take one subnet, or platform.address.via elastic-ip",
            "22: platform.subnets[1].cidr: 10.0.0.64/26 overlaps with 10.0.0.0/25",
        ],
    ),
    "virtual IP in another subnet": (
        "10.0.0.100/24",
        "10.0.0.200/24",
        ["5: zone.vip.address: 10.0.0.200 is not in 10.0.0.0/25, the nodes' subnet"],
    ),
    "allocation without its use": (
        "via: secondary-private-ip",
        "allocation_id: eipalloc-0a1b2c3d",
        ["25: platform.address.allocation_id: is for platform.address.via elastic-ip"],
    ),
    "use without its allocation": (
        "via: secondary-private-ip",
        "via: elastic-ip",
        [
            "5: zone.vip.address: is an Elastic IP: write it as 10.0.0.100/32",
            "24: platform.address.allocation_id: is missing: elastic-ip moves the address "
            "allocated as this",
        ],
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), AWS_CASES.values(), ids=AWS_CASES)
def test_a_mistake_about_aws_is_told_once_at_its_line(folder, old, new, expected):
    assert ON_AWS.count(old) == 1
    assert mistakes(folder, ON_AWS.replace(old, new)) == expected
