"""The platform ``aws``: each node an EC2 instance on an interface of its own, held by Terraform."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from onebaton import config
from onebaton.adapters.aws_images import AwsImages
from onebaton.adapters.aws_inventory import (
    Difference,
    Inventory,
    difference,
    imports_of,
    machine_address,
    planned,
    records_of_the_dead,
    require_taken_over_only,
)
from onebaton.adapters.aws_sight import AwsFence, AwsSight
from onebaton.adapters.aws_trial import AwsTrialNode, AwsTrials, Door, TrialPlace
from onebaton.adapters.nodechanges import require_apart, require_as_announced, require_as_wanted
from onebaton.adapters.parts import part
from onebaton.adapters.terraform import Resource, SavedPlan, Terraform
from onebaton.adapters.terraform_backend import S3Backend
from onebaton.errors import DeadlineError, RefusedError
from onebaton.model import Image, Node, NodeSpec, NodeState
from onebaton.ports import Clock, Reporter
from onebaton.records import Preview, StateIdentity

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_iam.client import IAMClient

    from onebaton.adapters.aws_session import Service

POLL_S = 3.0
#: EC2 shows what it was asked for within seconds, not at once (Amazon EC2, Eventual consistency).
SHOWN_TIMEOUT_S = 60.0
END_TIMEOUT_S = 300.0

#: Ports that clients use of services besides ``oned``, by package.
SERVICE_PORTS = {
    "opennebula-fireedge": 2616,
    "opennebula-flow": 2474,
    "opennebula-gate": 5030,
    "opennebula-sunstone": 9869,
}


class AwsPlatform:
    """Nodes of one cluster.

    :param cluster: the zone's name; everything that is made carries it as a tag.
    :param oned_port: of oned's XML-RPC.
    :param ssh_port: of sshd on the nodes.
    :param packages: in the image; their services are opened to clients.
    :param state: folder of this cluster's files on this machine.
    :param backend: where Terraform keeps its state; ``None`` for that folder.
    :param authorized_key: public key that may log in to new nodes.
    :param fence: of a clone; ``None`` for nodes that may reach anything.
    :param door: makes the way into a machine that is booted for a trial.
    :param module: the Terraform module for AWS; ``None`` for the one delivered.
    """

    def __init__(
        self,
        *,
        cluster: str,
        settings: config.AwsPlatform,
        oned_port: int,
        ssh_port: int,
        packages: Sequence[str],
        state: Path,
        backend: S3Backend | None,
        authorized_key: str,
        ec2: "Service[EC2Client]",
        iam: "Service[IAMClient]",
        images: AwsImages,
        fence: AwsFence | None = None,
        door: Callable[[], Door],
        reporter: Reporter,
        clock: Clock,
        module: Path | None = None,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._oned_port = oned_port
        self._ssh_port = ssh_port
        self._client_ports = [SERVICE_PORTS[name] for name in packages if name in SERVICE_PORTS]
        self._folder = state / "terraform" / "aws"
        self._backend = backend
        self._module = module or part("terraform", "aws")
        self._authorized_key = authorized_key.strip()
        self._images = images
        self._fence = fence
        self._door = door
        self._reporter = reporter
        self._clock = clock
        self._ec2 = ec2
        self._sight = AwsSight(ec2, iam, cluster=cluster, settings=settings)

    @property
    def kind(self) -> str:
        """Its name in the configuration."""
        return "aws"

    @cached_property
    def _terraform(self) -> Terraform:
        return Terraform(
            module=self._module,
            folder=self._folder,
            reporter=self._reporter,
            backend=self._backend,
        )

    def check(self) -> None:
        """Programs, module and rights are there, and the subnets are as they were described.

        :raises UnavailableError: if something is missing.
        :raises ConfigError: if a subnet is another one.
        """
        self._terraform.check()
        self._sight.check_subnets()

    def nodes(self) -> tuple[Node, ...]:
        """All nodes of this cluster, ordered by name, as they are and not as recorded.

        An instance with the cluster's tags is one of them, recorded or not. A node's interface
        outlives its instance: it tells of a node that vanished.
        """
        return self._sight.inventory().nodes()

    def pending(self, wanted: Sequence[NodeSpec]) -> tuple[str, ...]:
        """What applying ``wanted`` would do, a line each; empty if nothing.

        :raises RefusedError: if it could not be applied.
        """
        return self._checked_difference(wanted)[1].lines()

    def preview(self, wanted: Sequence[NodeSpec]) -> Preview:
        """What applying ``wanted`` would do, down to Terraform's saved plan of it.

        Where living machines have to be recorded first, Terraform does not plan: that alone would
        change its state.

        :raises RefusedError: if it could not be applied.
        """
        todo = self._checked_difference(wanted)[1]
        if not todo.lines() or todo.adopt:
            return Preview(todo.lines())
        with self._planned(wanted, todo) as plan:
            return Preview(todo.lines(), self._prepared.previewed(plan))

    def recorded(self) -> StateIdentity | None:
        """Which state Terraform's records are in; ``None`` before the first node."""
        return self._prepared.recorded()

    def apply(self, wanted: Sequence[NodeSpec]) -> None:
        """Make the cluster's nodes exactly ``wanted``.

        A stopped node that is wanted stays as it is. An empty ``wanted`` takes away what the
        nodes shared, too.

        :raises ConfigError: if addresses cannot work.
        :raises RefusedError: if an image is missing, or Terraform would do something else than
            announced; nothing was changed.
        :raises StepFailedError: if a node could not be made; a second run repairs it.
        """
        self.check()
        self._wait_for_ends()
        inventory, todo = self._checked_difference(wanted)
        lines = todo.lines()
        if not lines:
            return
        if todo.adopt:
            self._take_over(inventory, todo)
            todo = self._checked_difference(wanted)[1]
        if todo.lines():
            with self._planned(wanted, todo) as plan:
                require_as_announced(planned(plan.changes, todo), todo.expected())
                self._remove_leftovers(todo)
                self._carry_out(plan)
        self._verify(wanted, todo)
        for line in lines:
            self._reporter.note(f"done: {line}")

    def image_present(self, image: Image) -> bool:
        """The account holds the image under its name."""
        return self._images.present(image)

    def remove_image(self, image: Image) -> None:
        """Remove the AMI and its snapshots; no error if it is not there.

        :raises RefusedError: if something still uses it.
        """
        self._images.remove(image)

    @contextlib.contextmanager
    def boot_trial(self, image: Image) -> Iterator[AwsTrialNode]:
        """Boot an image once, in a security group of its own; gone when the block is left.

        :raises RefusedError: if the image is not there.
        :raises DeadlineError: if its systemd does not come up in time.
        """
        self._require_images({image.digest: image.name})
        settings = self._settings
        place = TrialPlace(
            cluster=self._cluster,
            vpc=settings.vpc_id,
            subnet=settings.subnets[0].id,
            instance_type=settings.instance_type,
            kms_key_id=settings.volumes.kms_key_id,
            operators=settings.access.operators,
            ssh_port=self._ssh_port,
            authorized_key=self._authorized_key,
            tags=tuple(settings.tags.items()),
            timeout_s=settings.timeouts.trial_s,
        )
        trials = AwsTrials(
            self._ec2, self._door(), place, reporter=self._reporter, clock=self._clock
        )
        with trials.boot(image.name, image.digest) as trial:
            yield trial

    @cached_property
    def _prepared(self) -> Terraform:
        """Terraform in its working folder, with what the state needs to be read."""
        self._terraform.prepare()
        return self._terraform

    def _subnet_ids(self, wanted: Sequence[NodeSpec]) -> dict[str, str]:
        """Ids of subnets by the nodes' addresses.

        :raises ConfigError: naming every address that is in none, or is there twice.
        """
        found, wrong = {}, {}
        for spec in wanted:
            address = IPv4Address(spec.address)
            subnet = next((s for s in self._settings.subnets if address in s.cidr), None)
            if subnet is None:
                wrong[spec.address] = "is in none of platform.subnets"
            else:
                found[spec.address] = subnet.id
        require_apart(wanted, wrong)
        return found

    def _variables(self, nodes: Mapping[NodeSpec, str]) -> dict[str, object]:
        """The module's variables.

        :param nodes: with the id of each one's subnet.
        """
        settings = self._settings
        return {
            "cluster": self._cluster,
            "region": settings.region,
            "endpoint_url": settings.endpoint_url,
            "vpc_id": settings.vpc_id,
            "instance_type": settings.instance_type,
            "key_pair": settings.key_pair,
            "root_gib": settings.volumes.root_gib,
            "data_gib": settings.volumes.data_gib,
            "kms_key_id": settings.volumes.kms_key_id,
            "ssh_port": self._ssh_port,
            "oned_port": self._oned_port,
            "client_ports": self._client_ports,
            "operators": [str(cidr) for cidr in settings.access.operators],
            "clients": [str(cidr) for cidr in settings.access.clients],
            "hypervisors": [str(cidr) for cidr in settings.access.hypervisors],
            "reaches": [str(cidr) for cidr in self._fence.reaches] if self._fence else None,
            "instance_profile": settings.instance_profile,
            "allocation_id": settings.address.allocation_id,
            "authorized_keys": self._authorized_key,
            "tags": settings.tags,
            "nodes": {
                spec.name: {
                    "address": spec.address,
                    "image": spec.image,
                    "image_digest": spec.image_digest,
                    "generation": spec.generation,
                    "subnet_id": subnet,
                }
                for spec, subnet in nodes.items()
            },
        }

    def _records(self) -> tuple[Resource, ...]:
        # A state in a store is there before this machine's folder is.
        there = self._backend is not None or self._folder.is_dir()
        return self._prepared.identities() if there else ()

    def _checked_difference(self, wanted: Sequence[NodeSpec]) -> tuple[Inventory, Difference]:
        """What is to be done, after everything that could stand in its way was looked at.

        What takes a clone away is never in the way of its fence.
        """
        subnets = self._subnet_ids(wanted)
        if self._fence is not None and wanted:
            self._sight.check_routes(self._fence)
        inventory = self._sight.inventory(self._records())
        todo = difference(inventory, wanted, subnets)
        self._require_images(
            {spec.image_digest: spec.image for spec in wanted if spec.name in todo.made}
        )
        return inventory, todo

    def _require_images(self, wanted: Mapping[str, str]) -> None:
        """See that AMIs are there and can be used.

        :param wanted: their names by their ids.
        :raises RefusedError: if one is not.
        """
        for ami, name in sorted(wanted.items()):
            found = self._images.find(ami)
            if found != name:
                raise RefusedError(
                    f"the image {name} is not the one that was chosen"
                    if found
                    else f"the image {name} is not in this account and region, or cannot be used",
                    details=[f"wanted: {ami}", *([f"{ami} is {found}"] if found else [])],
                    resolution="Bake it again, then make a new plan.",
                )

    def _take_over(self, inventory: Inventory, todo: Difference) -> None:
        """Record living machines that Terraform does not know, as they are."""
        terraform = self._prepared
        for address in (*todo.forget, *records_of_the_dead(inventory)):
            terraform.forget(address)
        imports = {
            **imports_of(inventory, todo.adopt),
            **self._sight.shared(inventory),
        }
        there = {machine.spec: machine.subnet for machine in inventory.machines.values()}
        with terraform.plan(self._variables(there), imports=imports) as plan:
            require_taken_over_only(plan.changes)
            self._carry_out(plan)

    def _planned(
        self, wanted: Sequence[NodeSpec], todo: Difference
    ) -> contextlib.AbstractContextManager[SavedPlan]:
        subnets = self._subnet_ids(wanted)
        return self._prepared.plan(
            self._variables({spec: subnets[spec.address] for spec in wanted}),
            replace=[machine_address(name) for name in todo.replace if name not in todo.gone],
        )

    def _carry_out(self, plan: SavedPlan) -> None:
        if plan.changes:
            self._prepared.apply(plan, timeout_s=self._settings.timeouts.apply_s)

    def _remove_leftovers(self, todo: Difference) -> None:
        """Interfaces that keep the addresses of nodes without a machine, and no record does."""
        for name, interface in todo.leftovers.items():
            self._reporter.progress(f"removing the interface {interface} that {name} left")
            self._sight.remove_interface(interface)

    def _wait_for_ends(self) -> None:
        """A machine that is being terminated keeps its interface until it is gone."""
        deadline = self._clock.monotonic() + END_TIMEOUT_S
        while ending := self._sight.inventory().ending:
            if self._clock.monotonic() >= deadline:
                raise DeadlineError(
                    "machines that are being terminated do not end",
                    details=[f"{name}: {machine}" for name, machine in sorted(ending.items())],
                    resolution="See in the EC2 console what keeps them; then run the same "
                    "command again.",
                )
            self._reporter.progress(f"waiting for the end of {', '.join(sorted(ending))}")
            self._clock.sleep(POLL_S)

    def _verify(self, wanted: Sequence[NodeSpec], todo: Difference) -> None:
        """See the nodes as they were asked for; EC2 may show them a little later."""
        deadline = self._clock.monotonic() + SHOWN_TIMEOUT_S
        while True:
            found = {node.spec: node.state for node in self.nodes()}
            settled = set(found) == set(wanted) and all(
                found[spec] is NodeState.RUNNING for spec in wanted if spec.name in todo.made
            )
            if settled or self._clock.monotonic() >= deadline:
                break
            self._reporter.progress("waiting for EC2 to show what was made")
            self._clock.sleep(POLL_S)
        require_as_wanted(found, wanted, todo.made)
