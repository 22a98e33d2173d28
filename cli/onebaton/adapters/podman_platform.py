"""The platform ``podman``: each node a system container of this machine, held by Terraform."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from onebaton import config
from onebaton.adapters.nodechanges import require_as_announced, require_as_wanted
from onebaton.adapters.parts import part
from onebaton.adapters.podman import Podman
from onebaton.adapters.podman_checks import (
    check_addresses,
    check_image,
    check_names,
    check_network,
    check_no_address_taken,
    check_no_guests,
)
from onebaton.adapters.podman_inventory import (
    Container,
    Difference,
    Inventory,
    PodmanNetwork,
    difference,
    is_ours,
    node_address,
    parse_containers,
    parse_networks,
    parse_routes,
    planned,
    take_inventory,
)
from onebaton.adapters.podman_trial import PodmanTrialNode, boot
from onebaton.adapters.terraform import SavedPlan, Terraform
from onebaton.errors import RefusedError, UnavailableError
from onebaton.model import Image, Node, NodeSpec
from onebaton.ports import Clock, Reporter
from onebaton.records import Preview, StateIdentity

QUERY_TIMEOUT_S = 30.0
REMOVE_TIMEOUT_S = 60.0
APPLY_TIMEOUT_S = 900.0
ROUTES = Path("/proc/net/route")


class PodmanPlatform:
    """Nodes of one cluster.

    :param cluster: the zone's name; containers and network are labelled with it.
    :param state: folder of this cluster's state.
    :param fenced: the cluster's network has no way out; this machine alone reaches the nodes.
    :param module: the Terraform module for podman; ``None`` for the one delivered.
    :param authorized_key: public key that may log in to new nodes.
    """

    def __init__(
        self,
        *,
        cluster: str,
        network: config.NetworkConfig,
        settings: config.PodmanPlatform,
        state: Path,
        authorized_key: str,
        podman: Podman,
        reporter: Reporter,
        clock: Clock,
        fenced: bool = False,
        module: Path | None = None,
    ) -> None:
        self._cluster = cluster
        self._fenced = fenced
        self._network_name = f"onebaton-{cluster}"
        self._subnet = network.subnet
        self._settings = settings
        self._folder = state / "terraform" / "podman"
        self._module = module or part("terraform", "podman")
        self._authorized_key = authorized_key
        self._podman = podman
        self._reporter = reporter
        self._clock = clock

    @property
    def kind(self) -> str:
        """Its name in the configuration."""
        return "podman"

    @cached_property
    def _terraform(self) -> Terraform:
        return Terraform(
            module=self._module,
            folder=self._folder,
            reporter=self._reporter,
            env={**self._podman.env, "PODMAN": self._podman.program},
        )

    def check(self) -> None:
        """Programs, module and rights are there.

        :raises UnavailableError: if something is missing.
        """
        if self._podman.host.rootless:
            raise UnavailableError(
                "podman runs without root here: this machine could not reach its nodes",
                resolution="Run the same command as root.",
            )
        self._terraform.check()

    def nodes(self) -> tuple[Node, ...]:
        """All nodes of this cluster, ordered by name, as they are and not as recorded.

        A container that carries the cluster's label is one of them, recorded or not.
        """
        return self._inventory(self._containers(), self._networks()).nodes()

    def pending(self, wanted: Sequence[NodeSpec]) -> tuple[str, ...]:
        """What applying ``wanted`` would do, a line each; empty if nothing.

        :raises RefusedError: if it could not be applied.
        """
        return self._checked_difference(wanted).lines()

    def preview(self, wanted: Sequence[NodeSpec]) -> Preview:
        """What applying ``wanted`` would do, down to Terraform's saved plan of it.

        Where records of vanished nodes have to be dropped first, Terraform does not plan: that
        alone would change its state.

        :raises RefusedError: if it could not be applied.
        """
        todo = self._checked_difference(wanted)
        if not todo.lines() or todo.forget:
            return Preview(todo.lines())
        self._terraform.prepare()
        with self._planned(wanted, todo) as plan:
            return Preview(todo.lines(), self._terraform.previewed(plan))

    def recorded(self) -> StateIdentity | None:
        """Which state Terraform's records are in; ``None`` before the first node."""
        return self._terraform.recorded()

    def apply(self, wanted: Sequence[NodeSpec]) -> None:
        """Make the cluster's nodes exactly ``wanted``.

        A stopped node that is wanted stays as it is. An empty ``wanted`` takes the network
        away too.

        :raises ConfigError: if addresses cannot work.
        :raises RefusedError: if something of somebody else is in the way, an image is
            missing, or Terraform would do something else than announced; nothing was changed.
        :raises StepFailedError: if a node could not be made; a second run repairs it.
        """
        self.check()
        todo = self._checked_difference(wanted)
        if not todo.lines() and not todo.forget:
            return
        terraform = self._terraform
        terraform.prepare()
        for name in todo.forget:
            terraform.forget(node_address(name))
        with self._planned(wanted, todo) as plan:
            require_as_announced(planned(plan.changes), todo.expected())
            self._remove_leftovers(todo)
            if plan.changes:
                terraform.apply(plan, timeout_s=APPLY_TIMEOUT_S)
        if not wanted:
            self._remove_network()
        found = {node.spec: node.state for node in self.nodes()}
        require_as_wanted(found, wanted, todo.made)
        for line in todo.lines():
            self._reporter.note(f"done: {line}")

    def _planned(
        self, wanted: Sequence[NodeSpec], todo: Difference
    ) -> contextlib.AbstractContextManager[SavedPlan]:
        replace = [node_address(name) for name in todo.replace]
        if todo.replace_network:
            replace.append("terraform_data.network[0]")
        return self._terraform.plan(
            self._variables(wanted),
            replace=replace,
            imports={node_address(name): instance for name, instance in todo.adopt.items()},
        )

    def image_present(self, image: Image) -> bool:
        """This machine holds the image under its name and with this digest."""
        return image.digest in self._digests(image.name)

    def remove_image(self, image: Image) -> None:
        """Remove it from this machine; no error if it is not there.

        :raises RefusedError: if a container, of anybody's, was made from it.
        """
        if not self.image_present(image):
            return
        done = self._podman.run(
            ["image", "rm", image.name], timeout_s=REMOVE_TIMEOUT_S, check=False
        )
        # Status 2: the image has children or is used by a container (podman-image-rm(1)).
        if done.status == 2:
            raise RefusedError(
                f"the image {image.name} is still in use on this machine",
                details=done.stderr.strip().splitlines()[-1:],
                resolution=f"See what uses it: podman ps --all --filter ancestor={image.name}",
            )
        if done.status != 0:
            raise UnavailableError(
                f"the image {image.name} cannot be removed",
                details=done.stderr.strip().splitlines()[-3:],
                resolution="See what podman says of it, then run the same command again.",
            )

    @contextlib.contextmanager
    def boot_trial(self, image: Image) -> Iterator[PodmanTrialNode]:
        """Boot an image once, without a network; gone when the block is left.

        :raises DeadlineError: if its systemd does not come up in time.
        """
        check_image(image.name, image.digest, self._digests(image.name))
        with boot(
            self._podman,
            image.name,
            cluster=self._cluster,
            memory_mib=self._memory_mib,
            reporter=self._reporter,
            clock=self._clock,
        ) as trial:
            yield trial

    @property
    def _memory_mib(self) -> int:
        return self._settings.memory_mib if self._podman.host.can_limit_memory else 0

    def _variables(self, wanted: Sequence[NodeSpec]) -> dict[str, object]:
        return {
            "cluster": self._cluster,
            "network": self._network_name,
            "subnet": str(self._subnet),
            "internal": self._fenced,
            "memory_mib": self._memory_mib,
            "authorized_keys": self._authorized_key.strip(),
            "nodes": {
                spec.name: {
                    "address": spec.address,
                    "image": spec.image,
                    "image_digest": spec.image_digest,
                    "generation": spec.generation,
                }
                for spec in wanted
            },
        }

    def _containers(self) -> tuple[Container, ...]:
        shown = self._podman.run(["ps", "--all", "--format", "json"], timeout_s=QUERY_TIMEOUT_S)
        return parse_containers(shown.stdout)

    def _networks(self) -> tuple[PodmanNetwork, ...]:
        shown = self._podman.run(["network", "ls", "--format", "json"], timeout_s=QUERY_TIMEOUT_S)
        return parse_networks(shown.stdout)

    def _inventory(
        self, containers: Sequence[Container], networks: Sequence[PodmanNetwork]
    ) -> Inventory:
        return take_inventory(
            self._terraform.resources(),
            containers,
            networks,
            cluster=self._cluster,
            network=self._network_name,
        )

    def _digests(self, image: str) -> tuple[str, ...]:
        """Both identities of an image: its manifest's digest and its id."""
        shown = self._podman.run(
            ["image", "inspect", image], timeout_s=QUERY_TIMEOUT_S, check=False
        )
        if shown.status != 0:
            return ()
        found = json.loads(shown.stdout)[0]
        return (found.get("Digest", ""), f"sha256:{found['Id']}")

    def _checked_difference(self, wanted: Sequence[NodeSpec]) -> Difference:
        """What is to be done, after everything that could stand in its way was looked at."""
        check_addresses(wanted, self._subnet)
        containers, networks = self._containers(), self._networks()
        inventory = self._inventory(containers, networks)
        todo = difference(inventory, wanted)
        if wanted:
            check_network(
                inventory,
                networks,
                parse_routes(ROUTES.read_text("ascii")),
                name=self._network_name,
                subnet=self._subnet,
                fenced=self._fenced,
            )
        foreign = [c for c in containers if not is_ours(c.labels, self._cluster)]
        check_names(foreign, todo.made)
        guests = [c for c in foreign if self._network_name in c.networks]
        if todo.remove_network:
            check_no_guests(guests, self._network_name)
        check_no_address_taken(self._addresses_on_network(guests), wanted)
        for image, digest in sorted(
            {(spec.image, spec.image_digest) for spec in wanted if spec.name in todo.made}
        ):
            check_image(image, digest, self._digests(image))
        return todo

    def _addresses_on_network(self, guests: Sequence[Container]) -> dict[str, str]:
        """Names of containers by the address they hold on the cluster's network."""
        found = {}
        for guest in guests:
            shown = self._podman.run(
                ["container", "inspect", guest.id], timeout_s=QUERY_TIMEOUT_S, check=False
            )
            if shown.status == 0:  # else it is gone by now
                attached = json.loads(shown.stdout)[0]["NetworkSettings"]["Networks"] or {}
                address = attached.get(self._network_name, {}).get("IPAddress", "")
                if address:
                    found[address] = guest.name
        return found

    def _remove_leftovers(self, todo: Difference) -> None:
        for name in todo.remove:
            self._reporter.progress(f"removing container {name}")
            self._podman.run(
                ["rm", "--force", "--volumes", "--time", "0", name],
                timeout_s=REMOVE_TIMEOUT_S,
                what=f"removing container {name}",
            )

    def _remove_network(self) -> None:
        """Take the network away where Terraform did not know of it."""
        inventory = self._inventory((), self._networks())
        if inventory.network is not None:
            self._podman.run(
                ["network", "rm", self._network_name],
                timeout_s=REMOVE_TIMEOUT_S,
                what=f"removing the network {self._network_name}",
            )
