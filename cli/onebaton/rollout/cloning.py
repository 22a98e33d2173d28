"""Making a clone: nodes, a copy, its change, its proof. Nothing starts before all of that.

The clone's own zone is brought up afterwards by the same plan that founds a zone: its first
server finds a database, and starts on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from onebaton.cloning import Clone, CloneDoor, Identity, Place, Production, ScrubRule
from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import Host, Member, NodeSpec, NodeState, Schema, Secret, Server
from onebaton.plan.cloning import places
from onebaton.plan.wanted import Wanted
from onebaton.ports import Store
from onebaton.rollout.copies import Stopwatch
from onebaton.rollout.notes import Note
from onebaton.steps.provision import ProvisionStep
from onebaton.steps.site import Site
from onebaton.steps.step import Standing

#: SSH as everybody has it: hypervisors are tried there too.
SSH_PORT = 22
#: The generation that a clone is made in.
GENERATION = "a"
#: ``SERVER_ID`` of a clone's first server.
FIRST_ID = 0
#: Where the states of clones are within their zone's, and what notes each.
PREFIX = "clones/"
NOTE = "clone.json"
#: Digests of what was production's, in the clone's local folder.
PRODUCTION_FILE = "production.json"

_PRODUCTION = TypeAdapter(Production)


def noted(store: Store, name: str | None = None) -> Note[Clone]:
    """What a clone's state says of it.

    :param name: of the clone, if the store is its zone's; without one it is the clone's own.
    """
    return Note(
        store,
        TypeAdapter(Clone),
        key=NOTE if name is None else f"{PREFIX}{name}/{NOTE}",
        about="the clone",
        resolution="Destroy the clone (`onebaton clone destroy`), and make it anew.",
    )


def clones_in(store: Store) -> tuple[Clone, ...]:
    """All clones of a zone, by name.

    :raises UnreadableError: if one of the notes cannot be read.
    """
    keys = [key.split("/") for key in store.keys(PREFIX)]
    names = [parts[1] for parts in keys if len(parts) == 3 and parts[2] == NOTE]
    return tuple(clone for name in names if (clone := noted(store, name).load()) is not None)


def remember(production: Production, path: Path) -> None:
    """Keep what a copy is compared with; for its owner alone."""
    path.touch(mode=0o600)
    path.write_text(_PRODUCTION.dump_json(production).decode())


def remembered(path: Path) -> Production:
    """What was kept.

    :raises RefusedError: if nothing can be read.
    """
    try:
        return _PRODUCTION.validate_json(path.read_bytes())
    except (OSError, ValueError):
        raise RefusedError(
            f"what the copy is compared with is not there ({path})",
            resolution="Without it nothing is proved: make the clone anew (`onebaton clone "
            "refresh`), on the machine that made it.",
        ) from None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a copy comes from.

    :param member: a server of production; ``None``: the dump.
    :param front_ends: addresses of production known besides those in the copy.
    """

    member: Member | None
    dump: Path | None
    front_ends: tuple[str, ...]

    @property
    def words(self) -> str:
        """For people."""
        return self.member.host.name if self.member is not None else f"the dump {self.dump}"


@dataclass(frozen=True, slots=True)
class Making:
    """One clone being made, or proved.

    :param site: the clone's.
    :param identity: who the copy becomes.
    :param rules: for user data.
    :param ssh_port: of production's machines.
    :param began: when, monotonic seconds.
    :param again: what to run to repeat it, for messages.
    """

    site: Site
    door: CloneDoor
    wanted: Wanted
    identity: Identity
    rules: tuple[ScrubRule, ...]
    ssh_port: int
    watch: Stopwatch
    began: float
    again: str

    @property
    def specs(self) -> tuple[NodeSpec, ...]:
        """Its nodes, the one with the copy first."""
        return self.wanted.specs(GENERATION)

    def provision(self, front_ends: Sequence[str]) -> None:
        """Nodes of the image, behind the fence; seen by trying before any data come.

        :raises RefusedError: if production answers.
        """
        site = self.site
        begin = site.clock.monotonic()
        step = ProvisionStep("clone:provision", site, self.specs)
        if step.check().standing is Standing.NEEDED:
            step.apply()
        step.verify()
        self.watch.since(begin, f"{_nodes(len(self.specs))} of {self.wanted.image.name}")
        self.require_fence(front_ends, ())

    def copy(self, origin: Origin) -> Production:
        """Fill the first node, and bring the copy to the image's schema.

        :returns: what the copy says of production.
        """
        site, host = self.site, self.first
        timeout_s = site.timeouts.seed_s
        begin = site.clock.monotonic()
        source = origin.member.host if origin.member is not None else None
        if source is not None:
            self.door.seed(source, host, timeout_s=timeout_s)
        elif origin.dump is not None:
            self.door.load(origin.dump, host, timeout_s=timeout_s)
        self.watch.since(begin, f"copied from {origin.words}, without locks")
        site.frontends.configure(
            host,
            server_id=FIRST_ID,
            election_timeout_ms=site.oned.election_timeout_ms,
            server_ids=(FIRST_ID,),
        )
        self._migrate(site.frontends.facts(host).schema)
        return self.door.read_production(host, source)

    def _migrate(self, schema: Schema | None) -> None:
        required = self.wanted.image.schema
        if schema is None:
            raise StepFailedError(
                f"{self.first.name} holds no OpenNebula database after it was copied",
                resolution=f"Run it again: {self.again}",
            )
        if schema != required:
            begin = self.site.clock.monotonic()
            self.site.standby.upgrade(self.first, timeout_s=self.site.timeouts.seed_s)
            self.watch.since(begin, f"onedb upgrade from {schema} to {required}")

    def change(self) -> Mapping[str, int]:
        """Make the copy harmless; rows changed by table."""
        begin = self.site.clock.monotonic()
        self.site.reporter.progress(f"changing the copy on {self.first.name}")
        counts = self.door.change(self.first, self.identity, self.rules)
        self.watch.since(begin, f"copy changed ({sum(counts.values())} rows)")
        return counts

    def prove(self, production: Production, front_ends: Sequence[str]) -> None:
        """Read the copy back, and try the fence from every node.

        :raises RefusedError: if something of production is left, or reached.
        """
        begin = self.site.clock.monotonic()
        problems = self.door.prove(self.first, self.identity, production, started=False)
        if problems:
            raise RefusedError(
                f"the clone {self.wanted.zone} is not started: its copy is still production's",
                details=problems,
                resolution="Nothing of it runs. Make it anew (`onebaton clone refresh`), or give "
                "it up (`onebaton clone destroy`).",
            )
        self.watch.since(begin, "copy proved")
        self.require_fence([*front_ends, *production.endpoints], production.hosts)

    def require_fence(self, front_ends: Sequence[str], hosts: Sequence[str]) -> None:
        """Every node gets no answer from any machine of production.

        :raises RefusedError: if one does.
        """
        begin = self.site.clock.monotonic()
        ssh_ports = {SSH_PORT, self.ssh_port}
        tried = places(front_ends, hosts, port=self.site.port, ssh_ports=ssh_ports)
        self.site.reporter.progress(f"trying to reach {len(tried)} places of production")
        reached = {
            host.name: found
            for host in self.running()
            if (found := self.door.answering(host, tried))
        }
        if reached:
            raise RefusedError(
                f"the clone {self.wanted.zone} has no fence: production answers",
                details=[f"{name} reaches {_listed(found)}" for name, found in reached.items()],
                resolution="Keep its subnet apart from production's servers and hosts "
                "(clones.fence: platform does), then make it anew (`onebaton clone refresh`), or "
                "give it up (`onebaton clone destroy`).",
            )
        self.watch.since(begin, f"fence proved ({len(tried)} places of production tried)")

    def check(self, production: Production, front_ends: Sequence[str]) -> None:
        """Prove a clone that serves: whatever its generation is by now.

        :raises RefusedError: if something of production is left, or reached.
        """
        problems = [
            f"{host.name}: {problem}"
            for host in self.running()
            for problem in self.door.prove(host, self.identity, production, started=True)
        ]
        if problems:
            raise RefusedError(
                f"the clone {self.wanted.zone} has something of production",
                details=problems,
                resolution="Give it up (`onebaton clone destroy`), or make it anew (`onebaton "
                "clone refresh`).",
            )
        self.require_fence([*front_ends, *production.endpoints], production.hosts)

    def is_there(self) -> bool:
        """All nodes run that it was made with."""
        there = {n.spec for n in self.site.platform.nodes() if n.state is NodeState.RUNNING}
        return there.issuperset(self.specs)

    def running(self) -> tuple[Host, ...]:
        """Nodes that run, of whatever generation."""
        nodes = self.site.platform.nodes()
        return tuple(node.host for node in nodes if node.state is NodeState.RUNNING)

    @property
    def first(self) -> Host:
        """The node with the copy."""
        return self.hosts()[0]

    def hosts(self) -> tuple[Host, ...]:
        """All nodes, the one with the copy first.

        :raises StepFailedError: if one is gone.
        """
        there = {node.spec: node.host for node in self.site.platform.nodes()}
        missing = [spec.name for spec in self.specs if spec not in there]
        if missing:
            raise StepFailedError(
                f"nodes of the clone are gone: {', '.join(missing)}",
                resolution=f"Run it again: {self.again}",
            )
        return tuple(there[spec] for spec in self.specs)


def identity_of(
    wanted: Wanted, *, zone_id: int, endpoint: str, user: str, password: Secret
) -> Identity:
    """Who a clone's copy becomes: a zone of one server, on the clone's first node."""
    spec = wanted.specs(GENERATION)[0]
    server = Server(FIRST_ID, spec.name, wanted.endpoint(spec.address))
    return Identity(zone_id, wanted.zone, server, endpoint, user, password)


def _listed(found: Sequence[Place]) -> str:
    shown = ", ".join(map(str, found[:6]))
    return shown if len(found) <= 6 else f"{shown} and {len(found) - 6} more"


def _nodes(count: int) -> str:
    return "one node" if count == 1 else f"{count} nodes"
