"""``cluster.yaml``: what the operator wants, checked whole before anything is done.

The models are strict: unknown keys, wrong types and contradictions are all reported at once,
each with its line. Secrets are named here and never contained (:class:`SecretSource`).
"""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from onebaton.model import Vip

#: DNS-like names: they become host names, container names and OpenNebula server names.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
#: An OpenNebula version such as 6.10.0.
Version = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+(\.\d+)?$")]
Seconds = Annotated[float, Field(gt=0, le=86400)]


class Section(BaseModel):
    """Base of all parts: strict, frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class SecretSource(Section):
    """Where a secret comes from: exactly one of a file, an environment variable, a command.

    A command is a list of words, run without a shell; its first line of output is the secret.
    """

    file: Path | None = Field(default=None, strict=False)
    env: str | None = None
    command: tuple[str, ...] | None = Field(default=None, strict=False)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("file", "env", "command") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of file, env, command")
        return self


class VipConfig(Section):
    """The zone's virtual IP: ``address`` with prefix, e.g. 10.0.0.100/24."""

    address: IPv4Interface = Field(strict=False)
    interface: str = "eth0"

    def to_model(self) -> Vip:
        """The address as the domain speaks of it."""
        return Vip(str(self.address.ip), self.address.network.prefixlen, self.interface)


class Credentials(Section):
    """Who talks to ``oned``."""

    user: str = "oneadmin"
    password: SecretSource


class ZoneConfig(Section):
    """The OpenNebula zone."""

    name: Name
    id: int = Field(default=0, ge=0)
    size: Literal[1, 3, 5, 7, 9] = 3
    vip: VipConfig
    credentials: Credentials
    port: int = Field(default=2633, ge=1, le=65535)


class RepositoryConfig(Section):
    """Where the OpenNebula packages come from.

    :ivar url: an https address or a local folder that holds a Debian package repository;
        ``${NAME}`` is replaced from the environment.
    :ivar suite: ``./`` for a flat repository, else the suite, e.g. ``stable``.
    :ivar key: file with the repository's public key; required unless it is a local folder.
    """

    url: str
    suite: str = "./"
    components: tuple[str, ...] = Field(default=(), strict=False)
    key: Path | None = Field(default=None, strict=False)


class ImageConfig(Section):
    """What is baked."""

    version: Version
    repository: RepositoryConfig
    packages: tuple[str, ...] = Field(default=("opennebula",), min_length=1, strict=False)
    #: ``mmdebstrap:SUITE`` bootstraps a base from Debian's packages; anything else is the
    #: platform's own name of a base (a container image, an AMI filter).
    base: str = "mmdebstrap:bookworm"
    #: Further provisioning scripts, run in this order at the end of the bake.
    scripts: tuple[Path, ...] = Field(default=(), strict=False)


class PodmanPlatform(Section):
    """Nodes are system containers on this machine."""

    kind: Literal["podman"] = "podman"
    memory_mib: int = Field(default=1024, ge=256)


class NetworkConfig(Section):
    """Addresses for two generations: while one serves, the other is free for the next."""

    subnet: IPv4Network = Field(strict=False)
    #: Two lists of addresses, each at least as long as the zone is large.
    generations: dict[Literal["a", "b"], tuple[IPv4Address, ...]] = Field(strict=False)


class SshConfig(Section):
    """How nodes are reached."""

    user: str = "root"
    port: int = Field(default=22, ge=1, le=65535)
    key: Path = Field(strict=False)
    connect_timeout_s: Seconds = 5.0


class DatabaseConfig(Section):
    """MariaDB on each node. The password is made anew on each node unless one is given."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,64}$")] = "opennebula"
    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,32}$")] = "oneadmin"
    password: SecretSource | None = None


class Timeouts(Section):
    """Deadlines of the waits of a rollout, in seconds."""

    boot_s: Seconds = 120.0
    seed_s: Seconds = 1800.0
    start_s: Seconds = 60.0
    catch_up_s: Seconds = 300.0
    stop_s: Seconds = 240.0
    election_s: Seconds = 60.0


class Gates(Section):
    """What must be seen before a rollout goes on."""

    #: Records a follower may be behind the leader and still count as healthy.
    max_lag_records: int = Field(default=50, ge=0)
    #: How often in a row a member must be seen caught up.
    caught_up_in_a_row: int = Field(default=3, ge=1, le=100)
    #: Share of LOG_RETENTION that seeding may use up at the observed rate of writes.
    log_window_share: float = Field(default=0.5, gt=0, le=1)


class ProbeConfig(Section):
    """Reads and writes that go on while a rollout runs."""

    enabled: bool = True
    #: Reads a second through the VIP and through each member; writes through the VIP.
    rate_hz: float = Field(default=10.0, gt=0, le=100)
    #: Writes a second through each member: a write costs every member a log record.
    member_write_rate_hz: float = Field(default=2.0, gt=0, le=100)
    timeout_s: Seconds = 2.0


class RolloutConfig(Section):
    """How a generation is replaced."""

    strategy: Literal["surge", "one-by-one"] = "surge"
    #: ELECTION_TIMEOUT_MS of the node that is steered to; at least 2 × BROADCAST_TIMEOUT_MS.
    steered_election_timeout_ms: int = Field(default=1000, ge=1000, le=60000)
    timeouts: Timeouts = Timeouts()
    gates: Gates = Gates()
    probe: ProbeConfig = ProbeConfig()


class OnedConfig(Section):
    """The sections of ``oned.conf`` that a zone decides about (times in milliseconds)."""

    election_timeout_ms: int = Field(default=5000, ge=1000)
    broadcast_timeout_ms: int = Field(default=500, ge=50)
    xmlrpc_timeout_ms: int = Field(default=1000, ge=100)
    log_retention: int = Field(default=250000, ge=1000)
    limit_purge: int = Field(default=100000, ge=100)


class ClusterConfig(Section):
    """A whole ``cluster.yaml``."""

    zone: ZoneConfig
    image: ImageConfig
    platform: PodmanPlatform
    network: NetworkConfig
    ssh: SshConfig
    database: DatabaseConfig = DatabaseConfig()
    oned: OnedConfig = OnedConfig()
    rollout: RolloutConfig = RolloutConfig()
    #: Folder of journal, catalogue and plans (an object store follows).
    state: str = ".onebaton"
