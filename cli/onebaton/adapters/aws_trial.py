"""An AMI booted once, alone, to be looked at."""

import contextlib
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Protocol

from onebaton.adapters.aws_inventory import TRIAL, Phase
from onebaton.adapters.process import Completed
from onebaton.errors import DeadlineError, OnebatonError, UnavailableError
from onebaton.model import Host
from onebaton.ports import Clock, Reporter

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.literals import ResourceTypeType
    from mypy_boto3_ec2.type_defs import InstanceTypeDef, TagSpecificationTypeDef, TagTypeDef

    from onebaton.adapters.aws_session import Service

#: The machine ends itself, and is gone then, when nobody came back for it.
LIFETIME_S = 1800
QUESTION_TIMEOUT_S = 30.0
POLL_S = 3.0
END_TIMEOUT_S = 300.0
#: MariaDB's disk of a trial; an empty database fits.
DATA_GIB = 8


class Door(Protocol):
    """The way into a machine: ssh."""

    def run(
        self, host: Host, script: str, *, timeout_s: float, what: str, check: bool = True
    ) -> Completed:
        """Run a shell script on it, as root."""
        ...


@dataclass(frozen=True, slots=True)
class TrialPlace:
    """Where trials of a cluster's images are booted.

    :param operators: ranges that may log in.
    :param authorized_key: public key that may log in.
    :param tags: further tags of what is made.
    :param timeout_s: until the machine booted.
    """

    cluster: str
    vpc: str
    subnet: str
    instance_type: str
    kms_key_id: str | None
    operators: tuple[IPv4Network, ...]
    ssh_port: int
    authorized_key: str
    tags: tuple[tuple[str, str], ...]
    timeout_s: float


class AwsTrialNode:
    """An instance that runs only to be looked at."""

    def __init__(self, door: Door, host: Host) -> None:
        self._door = door
        self._host = host

    def run(self, script: str, *, timeout_s: float) -> tuple[int, str]:
        """Run a shell script on it.

        :returns: exit status, and standard output with standard error.
        """
        # As a plain shell: what a look asks may fail, and is told all the same.
        done = self._door.run(
            self._host,
            f"set +eu +o pipefail\nexec 2>&1\n{script}",
            timeout_s=timeout_s,
            what="a script",
            check=False,
        )
        return done.status, done.stdout + done.stderr


class AwsTrials:
    """Boots images of one cluster for trials."""

    def __init__(
        self,
        ec2: "Service[EC2Client]",
        door: Door,
        place: TrialPlace,
        *,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._ec2 = ec2
        self._door = door
        self._place = place
        self._reporter = reporter
        self._clock = clock

    @contextlib.contextmanager
    def boot(self, image: str, ami: str) -> Iterator[AwsTrialNode]:
        """Boot an AMI; all that was made for it is gone when the block is left.

        :param image: its name, for people.
        :raises DeadlineError: if its systemd does not come up in time.
        """
        self._sweep()
        name = f"onebaton-trial-{secrets.token_hex(4)}"
        group = self._open_door(name)
        machine = ""
        try:
            machine = self._start(name, ami, group)
            host = Host(name, self._address(machine, image), machine)
            trial = AwsTrialNode(self._door, host)
            self._wait_booted(trial, image)
            yield trial
        finally:
            self._end([machine] if machine else [], [group])

    def _open_door(self, name: str) -> str:
        """A security group of its own: the nodes' may not be there yet.

        :returns: its id.
        """
        place = self._place

        def make(client: "EC2Client") -> str:
            group = client.create_security_group(
                GroupName=name,
                Description=f"Trial of an image of the zone {place.cluster}",
                VpcId=place.vpc,
                TagSpecifications=self._tags(name, "security-group"),
            )["GroupId"]
            client.authorize_security_group_ingress(
                GroupId=group,
                IpPermissions=[
                    {
                        "IpProtocol": "tcp",
                        "FromPort": place.ssh_port,
                        "ToPort": place.ssh_port,
                        "IpRanges": [{"CidrIp": str(cidr)} for cidr in place.operators],
                    }
                ],
            )
            return group

        return self._ec2.call("make a security group for a trial", make)

    def _start(self, name: str, ami: str, group: str) -> str:
        """An instance with the facts that any node's first boot needs.

        :returns: its id.
        """
        place = self._place
        files = {
            "/etc/onebaton/first-boot.env": f"NODE_NAME={name}\n",
            "/etc/onebaton/authorized_keys": f"{place.authorized_key}\n",
        }
        facts = {
            "write_files": [
                {"path": path, "permissions": "0644", "content": content}
                for path, content in files.items()
            ]
        }
        disk = {
            "VolumeSize": DATA_GIB,
            "VolumeType": "gp3",
            "Encrypted": True,
            "DeleteOnTermination": True,
        }
        if place.kms_key_id is not None:
            disk["KmsKeyId"] = place.kms_key_id

        def run(client: "EC2Client") -> str:
            # The library makes the request's token: tried again it starts no second machine.
            answer = client.run_instances(
                ImageId=ami,
                InstanceType=place.instance_type,  # type: ignore[arg-type] # any type there is
                MinCount=1,
                MaxCount=1,
                SubnetId=place.subnet,
                SecurityGroupIds=[group],
                InstanceInitiatedShutdownBehavior="terminate",
                MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
                UserData=f"#cloud-config\n{json.dumps(facts)}\n",
                BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": disk}],  # type: ignore[typeddict-item]
                TagSpecifications=self._tags(name, "instance", "volume", "network-interface"),
            )
            return answer["Instances"][0]["InstanceId"]

        return self._ec2.call(f"boot {ami} for a trial", run)

    def _address(self, machine: str, image: str) -> str:
        """Its private address, once it runs."""
        deadline = self._clock.monotonic() + self._place.timeout_s
        while True:
            found = self._look([machine])
            phase = Phase(found[0]["State"]["Name"]) if found else Phase.PENDING
            if phase is Phase.RUNNING:
                return found[0]["PrivateIpAddress"]
            if not phase.lives or self._clock.monotonic() >= deadline:
                raise DeadlineError(
                    f"the image {image} did not start within {self._place.timeout_s:g} s",
                    details=[f"instance {machine} is {phase.value}"],
                    resolution="See that platform.instance_type fits the image's architecture.",
                )
            self._reporter.progress(f"waiting for {machine} to start; it is {phase.value}")
            self._clock.sleep(POLL_S)

    def _wait_booted(self, trial: AwsTrialNode, image: str) -> None:
        deadline = self._clock.monotonic() + self._place.timeout_s
        # When we are killed the machine goes by itself.
        question = (
            f"systemd-run --quiet --on-active={LIFETIME_S} --unit=onebaton-trial-end poweroff "
            "2>/dev/null; systemctl is-system-running"
        )
        said = "nothing yet"
        while self._clock.monotonic() < deadline:
            self._reporter.progress(f"waiting for {image} to boot; systemd says: {said}")
            try:
                said = trial.run(question, timeout_s=QUESTION_TIMEOUT_S)[1].strip()
            except (UnavailableError, DeadlineError) as error:
                said = error.message
            if said in ("running", "degraded"):
                return
            self._clock.sleep(POLL_S)
        raise DeadlineError(
            f"the image {image} did not boot within {self._place.timeout_s:g} s",
            details=[f"systemctl is-system-running: {said}"],
            resolution="See that platform.access.operators holds this machine's address and that "
            "it reaches the subnet; then bake the image again.",
        )

    def _end(self, machines: Sequence[str], groups: Sequence[str]) -> None:
        """Terminate, wait, and take the security groups away; what stays is told of."""
        try:
            if machines:
                self._ec2.call(
                    f"terminate the trial {', '.join(machines)}",
                    lambda client: client.terminate_instances(InstanceIds=list(machines)),
                )
                self._wait_ended(machines)
            for group in groups:
                self._remove_group(group)
        except OnebatonError as error:
            self._reporter.warn(f"{error.message}; the next trial clears it up")

    def _wait_ended(self, machines: Sequence[str]) -> None:
        deadline = self._clock.monotonic() + END_TIMEOUT_S
        while any(item["State"]["Name"] != "terminated" for item in self._look(machines)):
            if self._clock.monotonic() >= deadline:
                raise DeadlineError(f"the trial {', '.join(machines)} does not end")
            self._reporter.progress(f"waiting for the trial {', '.join(machines)} to end")
            self._clock.sleep(POLL_S)

    def _remove_group(self, group: str) -> None:
        self._ec2.unless_missing(
            f"remove the security group {group}",
            lambda client: client.delete_security_group(GroupId=group),
        )

    def _look(self, machines: Sequence[str]) -> "list[InstanceTypeDef]":
        """Instances by id; one that was just made may not be shown yet."""

        def ask(client: "EC2Client") -> "list[InstanceTypeDef]":
            answer = client.describe_instances(
                Filters=[{"Name": "instance-id", "Values": list(machines)}]
            )
            return [item for group in answer["Reservations"] for item in group["Instances"]]

        return self._ec2.call("look at the trial", ask)

    def _sweep(self) -> None:
        """Take away what runs that were killed left."""
        mine = [{"Name": f"tag:{TRIAL}", "Values": [self._place.cluster]}]
        oldest = self._clock.now() - LIFETIME_S

        def ask(client: "EC2Client") -> tuple[set[str], set[str], set[str]]:
            answer = client.describe_instances(Filters=mine)  # type: ignore[arg-type]
            living = [
                item
                for group in answer["Reservations"]
                for item in group["Instances"]
                if Phase(item["State"]["Name"]) is not Phase.TERMINATED
            ]
            old = {i["InstanceId"] for i in living if i["LaunchTime"].timestamp() < oldest}
            used = {g["GroupId"] for item in living for g in item["SecurityGroups"]}
            groups = client.describe_security_groups(Filters=mine)  # type: ignore[arg-type]
            return old, {g["GroupId"] for g in groups["SecurityGroups"]}, used

        old, groups, used = self._ec2.call("look for earlier trials", ask)
        self._end(sorted(old), sorted(groups - used))

    def _tags(self, name: str, *kinds: "ResourceTypeType") -> "list[TagSpecificationTypeDef]":
        tags = {**dict(self._place.tags), "Name": name, TRIAL: self._place.cluster}
        shown: list[TagTypeDef] = [{"Key": key, "Value": value} for key, value in tags.items()]
        return [{"ResourceType": kind, "Tags": shown} for kind in kinds]
