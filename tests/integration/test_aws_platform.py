"""Terraform and its AWS provider for real, EC2 on loopback: what is made, lost, locked."""

import json
import threading
import time
from collections.abc import Iterator

import pytest
from tests.contract.aws_lab import STATE, SUBNETS, AwsLab, aws_lab
from tests.contract.objectstore import BUCKET

from onebaton.errors import ConfigError, LockedError, RefusedError, UnavailableError
from onebaton.model import NodeState

pytestmark = pytest.mark.integration

#: What Terraform writes beside its state while it holds it (its S3 backend, use_lockfile).
LOCK = f"{STATE}.tflock"
DEAD = {
    "ID": "9db590f1-b6fe-c5f2-2678-8804f089deba",
    "Operation": "OperationTypeApply",
    "Info": "",
    "Who": "root@elsewhere",
    "Version": "1.11.4",
    "Created": "2026-01-01T10:00:00Z",
    "Path": f"{BUCKET}/{STATE}",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory, aws_calls) -> Iterator[AwsLab]:
    """One account for the whole story: the tests go on from each other."""
    with aws_lab(tmp_path_factory.mktemp("aws"), aws_calls / "platform") as made:
        yield made


def keys(lab: AwsLab) -> list[str]:
    listed = lab.cloud.store.client.list_objects_v2(Bucket=BUCKET)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def instances(lab: AwsLab) -> dict[str, str]:
    return {node.spec.name: node.instance for node in lab.platform.nodes()}


def interface_of(lab: AwsLab, address: str) -> dict:
    (found,) = lab.cloud.ec2.describe_network_interfaces(
        Filters=[{"Name": "private-ip-address", "Values": [address]}]
    )["NetworkInterfaces"]
    return found


def test_two_runs_at_once_and_only_one_has_the_state(lab: AwsLab):
    wanted = [lab.spec(1), lab.spec(2, "b")]
    failed: list[BaseException] = []

    def first() -> None:
        try:
            lab.platform.apply(wanted)
        except BaseException as error:  # noqa: BLE001 - told of below
            failed.append(error)

    other = lab.new_platform(folder="elsewhere")
    assert len(other.pending(wanted)) == 2
    thread = threading.Thread(target=first)
    thread.start()
    try:
        # From the first thing that is made on, the first run goes on for 15 s: the provider waits
        # for the role to be known everywhere, and for machines to start.
        while not lab.leftovers():
            assert thread.is_alive(), failed
            time.sleep(0.1)
        assert LOCK in keys(lab)
        with pytest.raises(LockedError) as caught:
            other.apply(wanted)
    finally:
        thread.join()
    assert not failed, [(error, getattr(error, "details", ())) for error in failed]
    assert any(line.startswith("ID:") for line in caught.value.details)
    assert "force-unlock" in (caught.value.resolution or "")
    assert [node.spec for node in lab.platform.nodes()] == wanted
    assert LOCK not in keys(lab)


def test_a_node_is_made_as_it_was_asked_for(lab: AwsLab):
    for spec in (lab.spec(1), lab.spec(2, "b")):
        machine = lab.machines()[spec.name]
        assert machine["ImageId"] == lab.ami
        assert machine["PrivateIpAddress"] == spec.address
        # The two subnets are in two availability zones.
        assert machine["SubnetId"] == lab.subnets[spec.generation]
        assert machine["MetadataOptions"]["HttpTokens"] == "required"
        assert machine["IamInstanceProfile"]["Arn"].endswith(
            f"/onebaton-{lab.cluster}-eu-central-1"
        )
        assert machine["tags"]["team"] == "cloud"
        volumes = lab.cloud.ec2.describe_volumes(
            Filters=[{"Name": "attachment.instance-id", "Values": [machine["InstanceId"]]}]
        )["Volumes"]
        assert {(v["Size"], v["VolumeType"], v["Encrypted"]) for v in volumes} == {
            (16, "gp3", True),
            (50, "gp3", True),
        }


def test_only_those_who_need_it_reach_the_nodes(lab: AwsLab):
    (group,) = lab.cloud.ec2.describe_security_groups(
        Filters=[{"Name": "tag:onebaton:cluster", "Values": [lab.cluster]}]
    )["SecurityGroups"]
    interface = interface_of(lab, lab.spec(1).address)
    assert [one["GroupId"] for one in interface["Groups"]] == [group["GroupId"]]
    opened = {
        (rule["FromPort"], rule["IpProtocol"], source)
        for rule in group["IpPermissions"]
        for source in (
            *(entry["CidrIp"] for entry in rule["IpRanges"]),
            *("nodes" for _ in rule["UserIdGroupPairs"]),
        )
    }
    assert opened == {
        *((port, "tcp", "nodes") for port in (2633, 2634)),
        *((port, "tcp", "10.9.0.0/16") for port in (22, 2633)),
        *((port, "tcp", "10.8.0.0/16") for port in (2633, 2634, 2616)),
        *((4124, protocol, "10.7.0.0/16") for protocol in ("tcp", "udp")),
    }


def test_the_nodes_may_move_the_zones_address_and_do_nothing_else(lab: AwsLab):
    assert lab.rights() == {
        "network-interface/*": "ec2:AssociateAddress",
        "elastic-ip/eipalloc-0a1b2c3d": "ec2:AssociateAddress",
    }


def test_user_data_is_facts_and_no_script(lab: AwsLab):
    spec = lab.spec(1)
    said = lab.user_data(spec.name)
    head, _, rest = said.partition("\n")
    assert head == "#cloud-config"
    facts = json.loads(rest)
    assert list(facts) == ["write_files"]
    files = {entry["path"]: entry["content"] for entry in facts["write_files"]}
    assert files["/etc/onebaton/first-boot.env"] == f"NODE_NAME={spec.name}\n"
    assert files["/etc/onebaton/authorized_keys"].startswith("ssh-ed25519 ")


def test_a_lost_state_and_new_settings_cost_no_living_node(lab: AwsLab):
    wanted = [lab.spec(1), lab.spec(2, "b")]
    before = instances(lab)
    # The leader's interface holds the zone's address as well.
    interface = interface_of(lab, wanted[0].address)["NetworkInterfaceId"]
    held = str(SUBNETS["a"].network_address + 100)
    lab.cloud.ec2.assign_private_ip_addresses(
        NetworkInterfaceId=interface, PrivateIpAddresses=[held]
    )
    for key in keys(lab):
        lab.cloud.store.client.delete_object(Bucket=BUCKET, Key=key)
    settings = lab.settings(
        instance_type="c6i.xlarge",
        volumes={"root_gib": 30, "data_gib": 90},
        address={"via": "secondary-private-ip"},
    )
    lab.platform = lab.new_platform(settings, folder="new")
    assert instances(lab) == before
    assert all("take over" in line for line in lab.platform.pending(wanted))
    lab.platform.apply(wanted)
    assert instances(lab) == before
    assert lab.platform.pending(wanted) == ()
    addresses = interface_of(lab, wanted[0].address)["PrivateIpAddresses"]
    assert held in [entry["PrivateIpAddress"] for entry in addresses]
    # What the nodes share follows the settings.
    assert lab.rights() == {"network-interface/*": "ec2:AssignPrivateIpAddresses"}


def test_a_lock_whose_owner_died_is_named_with_its_way_out(lab: AwsLab):
    store = lab.cloud.store.client
    store.put_object(Bucket=BUCKET, Key=LOCK, Body=json.dumps(DEAD).encode())
    before = instances(lab)
    try:
        with pytest.raises(LockedError) as caught:
            lab.platform.apply([lab.spec(1)])
    finally:
        store.delete_object(Bucket=BUCKET, Key=LOCK)
    assert any("root@elsewhere" in line for line in caught.value.details)
    assert any(DEAD["ID"] in line for line in caught.value.details)
    assert "force-unlock" in (caught.value.resolution or "")
    assert instances(lab) == before


def test_what_cannot_be_is_refused_before_anything_is_made(lab: AwsLab):
    before = instances(lab)
    elsewhere = lab.settings(subnets=[{"id": lab.subnets["a"], "cidr": "10.60.9.0/24"}])
    with pytest.raises(ConfigError) as caught:
        lab.new_platform(elsewhere).apply([])
    assert str(SUBNETS["a"]) in caught.value.details[0]
    with pytest.raises(ConfigError, match="addresses"):
        lab.new_platform(
            lab.settings(subnets=[{"id": lab.subnets["b"], "cidr": str(SUBNETS["b"])}])
        ).pending([lab.spec(1)])
    gone = lab.settings(subnets=[{"id": "subnet-0000dead", "cidr": "10.60.9.0/24"}])
    with pytest.raises(UnavailableError, match="does not exist"):
        lab.new_platform(gone).check()
    assert instances(lab) == before


def test_two_machines_of_one_node_are_refused(lab: AwsLab):
    twin = lab.twin_of(lab.spec(1).name)
    try:
        with pytest.raises(RefusedError, match=lab.spec(1).name):
            lab.platform.nodes()
    finally:
        lab.cloud.ec2.terminate_instances(InstanceIds=[twin])
    assert {node.state for node in lab.platform.nodes()} == {NodeState.RUNNING}


def test_a_service_that_does_not_answer_is_told_of_in_time(lab: AwsLab):
    settings = lab.settings(endpoint_url="http://127.0.0.1:9", timeouts={"call_s": 2.0})
    with pytest.raises(UnavailableError, match="cannot look for the nodes"):
        lab.new_platform(settings).nodes()
