"""``cluster.yaml``: what the operator wants, checked whole before anything is done.

The models are strict: unknown keys, wrong types and contradictions are mistakes. Secrets are
named here and never contained (:class:`SecretSource`). ``adapters.configfile.load`` reads the
file and lists all mistakes at once, each with its line, contradictions between the sections
among them (:mod:`onebaton.contradictions`).
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from onebaton.fields import (
    Address,
    DatabaseName,
    DatabaseUser,
    DeviceName,
    ExistingFile,
    FilePath,
    Interface,
    Name,
    Package,
    Region,
    Seconds,
    Subnet,
    UserName,
    Version,
    repository_url,
    require_file,
    service_url,
    state_place,
    under_folder,
)
from onebaton.model import Vip

#: Folder of the state, and of what stays on this machine if the state does not.
DEFAULT_STATE = ".onebaton"


class Section(BaseModel):
    """Base of all parts: strict, frozen, no unknown keys; errors never hold what was typed."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        validate_default=True,
        hide_input_in_errors=True,
    )


class SecretSource(Section):
    """Where a secret comes from: exactly one of a file, an environment variable, a command.

    Its first line is the secret.
    """

    file: FilePath | None = Field(default=None, description="File that holds the secret.")
    env: str | None = Field(
        default=None, min_length=1, description="Environment variable that holds the secret."
    )
    command: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        strict=False,
        description="Program and its arguments, run without a shell, that prints the secret.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("file", "env", "command") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of file, env, command")
        return self


class VipConfig(Section):
    """The zone's virtual IP."""

    address: Interface = Field(description="The address with its prefix, e.g. 10.0.0.100/24.")
    interface: DeviceName = Field(
        default="eth0", description="Network interface of the nodes that carries it."
    )

    def to_model(self) -> Vip:
        """The address as the domain speaks of it."""
        return Vip(str(self.address.ip), self.address.network.prefixlen, self.interface)


class Credentials(Section):
    """Who talks to oned."""

    user: UserName = Field(default="oneadmin", description="OpenNebula user.")
    password: SecretSource = Field(description="Where the user's password comes from.")


class ZoneConfig(Section):
    """The OpenNebula zone."""

    name: Name = Field(description="The zone's name; nodes and images carry it too.")
    id: int = Field(default=0, ge=0, description="The zone's id in OpenNebula.")
    size: Literal[1, 3, 5, 7, 9] = Field(default=3, description="Number of servers.")
    vip: VipConfig = Field(description="The address that clients use; the leader holds it.")
    credentials: Credentials = Field(description="Who talks to oned.")
    port: int = Field(default=2633, ge=1, le=65535, description="Port of oned's API.")

    @field_validator("size", mode="before")
    @classmethod
    def _odd(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0 and not value % 2:
            raise ValueError(
                f"{value} servers survive no more failures than {value - 1}: a Raft zone needs "
                "an odd number (1, 3, 5, 7 or 9)"
            )
        return value


class RepositoryConfig(Section):
    """Where the OpenNebula packages come from."""

    url: str = Field(
        min_length=1,
        description="Web address or local folder of a Debian package repository.",
    )
    suite: str = Field(
        default="./", min_length=1, description="The suite, e.g. stable; ./ if it is flat."
    )
    components: tuple[str, ...] = Field(
        default=(), strict=False, description="Components of the suite; none if it is flat."
    )
    key: ExistingFile | None = Field(
        default=None,
        description="The repository's public key; required unless it is a local folder.",
    )

    @field_validator("url")
    @classmethod
    def _place(cls, value: str, info: ValidationInfo) -> str:
        return repository_url(value, info)


class ImageConfig(Section):
    """What is baked."""

    version: Version = Field(description="OpenNebula version, e.g. 6.10.0.")
    channel: Name | None = Field(
        default=None,
        description="Take the image that was promoted to this channel; the newest one of the "
        "version if left out.",
    )
    repository: RepositoryConfig = Field(description="Where the packages come from.")
    packages: tuple[Package, ...] = Field(
        default=("opennebula",),
        min_length=1,
        strict=False,
        description="Packages to install. The services of opennebula-flow, -gate, -fireedge and "
        "-sunstone are enabled where they are named here.",
    )
    base: str = Field(
        default="mmdebstrap:bookworm",
        min_length=1,
        description="mmdebstrap:SUITE bootstraps a base from Debian's packages; anything else "
        "is the platform's own name of a base (a container image, an AMI filter).",
    )
    scripts: tuple[ExistingFile, ...] = Field(
        default=(),
        strict=False,
        description="Further provisioning scripts, run in this order at the end of the bake.",
    )


class PodmanPlatform(Section):
    """Nodes are system containers on this machine."""

    kind: Literal["podman"] = Field(default="podman", description="Which platform.")
    memory_mib: int = Field(default=1024, ge=256, description="Memory of a node, in MiB.")


class NetworkConfig(Section):
    """Addresses for two generations: while one serves, the other is free for the next."""

    subnet: Subnet = Field(description="The subnet of all nodes and of the virtual IP.")
    generations: dict[Literal["a", "b"], Annotated[tuple[Address, ...], Field(strict=False)]] = (
        Field(description="Two lists of addresses, each at least as long as the zone is large.")
    )


class SshConfig(Section):
    """How nodes are reached."""

    user: UserName = Field(default="root", description="User on the nodes.")
    port: int = Field(default=22, ge=1, le=65535, description="Port of sshd on the nodes.")
    key: ExistingFile = Field(description="Private key; its public half is beside it (.pub).")
    connect_timeout_s: Seconds = Field(
        default=5.0, description="Deadline of one attempt to connect, in seconds."
    )

    @field_validator("key")
    @classmethod
    def _public_half(cls, value: Path, info: ValidationInfo) -> Path:
        if isinstance(info.context, dict):
            require_file(value.with_name(f"{value.name}.pub"))
        return value


class DatabaseConfig(Section):
    """MariaDB on each node."""

    name: DatabaseName = Field(default="opennebula", description="The database.")
    user: DatabaseUser = Field(default="oneadmin", description="Its user.")
    password: SecretSource | None = Field(
        default=None,
        description="Where its password comes from; made anew on each node if left out.",
    )


class Timeouts(Section):
    """Deadlines of the waits of a rollout, in seconds."""

    boot_s: Seconds = Field(default=120.0, description="From creating a node to its readiness.")
    seed_s: Seconds = Field(default=1800.0, description="Copying the database to new nodes.")
    start_s: Seconds = Field(default=60.0, description="From starting oned to its first answer.")
    catch_up_s: Seconds = Field(default=300.0, description="Until a new server is level.")
    stop_s: Seconds = Field(default=240.0, description="Stopping oned kindly.")
    election_s: Seconds = Field(default=60.0, description="Until another server leads.")


class Gates(Section):
    """What must be seen before a rollout goes on."""

    max_lag_records: int = Field(
        default=50, ge=0, description="Records a healthy follower may be behind the leader."
    )
    caught_up_in_a_row: int = Field(
        default=3, ge=1, le=100, description="How often in a row a server must be seen level."
    )
    log_window_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of oned.log_retention that seeding may use up at the observed writes.",
    )
    expected_seed_s: Seconds = Field(
        default=120.0, description="How long dumping and restoring the database takes, about."
    )


class ProbeConfig(Section):
    """Reads and writes that go on while a rollout runs."""

    enabled: bool = Field(default=True, description="Probe at all.")
    rate_hz: float = Field(
        default=10.0,
        gt=0,
        le=100,
        description="Reads a second through the VIP and each member; writes through the VIP.",
    )
    member_write_rate_hz: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="Writes a second through each member; each costs all members a log record.",
    )
    timeout_s: Seconds = Field(default=2.0, description="Deadline of one request, in seconds.")


#: How a change of the database schema is carried out.
Cut = Literal["auto", "stand-by", "plain"]


class RolloutConfig(Section):
    """How a generation is replaced."""

    strategy: Literal["surge", "one-by-one"] = Field(
        default="surge",
        description="surge: all new nodes at once; one-by-one: one surplus node at most.",
    )
    steered_election_timeout_ms: int = Field(
        default=1000,
        ge=1000,
        le=60000,
        description="ELECTION_TIMEOUT_MS of the node that is to lead: at least twice "
        "oned.broadcast_timeout_ms and below oned.election_timeout_ms.",
    )
    cut: Cut = Field(
        default="auto",
        description="How a change of the database schema is carried out. stand-by: the next "
        "release runs on a copy migrated ahead; plain: migrated while nobody serves; auto: "
        "stand-by where the rehearsal proved it.",
    )
    max_outage_s: Seconds | None = Field(
        default=None,
        description="Longest time without writes that a cut-over may take, in seconds: a "
        "forecast above it is refused, an overrun is rolled back.",
    )
    rehearsal_max_age_days: float = Field(
        default=7.0,
        gt=0,
        le=365,
        description="How old the rehearsal that a cut-over is planned on may be, in days.",
    )
    timeouts: Timeouts = Field(default=Timeouts(), description="Deadlines of the waits.")
    gates: Gates = Field(default=Gates(), description="What must be seen before going on.")
    probe: ProbeConfig = Field(default=ProbeConfig(), description="Requests made meanwhile.")


class OnedConfig(Section):
    """The part of oned.conf that a zone decides about (times in milliseconds)."""

    election_timeout_ms: int = Field(default=5000, ge=1000, description="ELECTION_TIMEOUT_MS")
    broadcast_timeout_ms: int = Field(default=500, ge=50, description="BROADCAST_TIMEOUT_MS")
    xmlrpc_timeout_ms: int = Field(default=1000, ge=100, description="XMLRPC_TIMEOUT_MS")
    log_retention: int = Field(default=250000, ge=1000, description="LOG_RETENTION, in records")
    limit_purge: int = Field(default=100000, ge=100, description="LIMIT_PURGE, in records")


class S3Config(Section):
    """How an object store is spoken to, where ``state`` is in one."""

    endpoint_url: str | None = Field(
        default=None,
        description="Address of the S3-compatible service (MinIO, Ceph, ...); AWS if left out. "
        "Keys come from the usual AWS places: environment, profile, the machine's role.",
    )
    region: Region | None = Field(
        default=None, description="The bucket's region; the AWS settings' own if left out."
    )
    encryption: Literal["AES256", "aws:kms", "bucket"] = Field(
        default="AES256",
        description="Server-side encryption of each write; bucket: what the bucket does by itself.",
    )
    kms_key_id: str | None = Field(
        default=None, min_length=1, description="Key for aws:kms; the account's own if left out."
    )
    timeout_s: Seconds = Field(
        default=30.0,
        description="Deadline of one read or write with all its retries, in seconds.",
    )

    @field_validator("endpoint_url")
    @classmethod
    def _service(cls, value: str | None) -> str | None:
        return value if value is None else service_url(value)


class ClusterConfig(Section):
    """A whole ``cluster.yaml``."""

    zone: ZoneConfig = Field(description="The OpenNebula zone.")
    image: ImageConfig = Field(description="What is baked.")
    platform: PodmanPlatform = Field(description="Where nodes run.")
    network: NetworkConfig = Field(description="Addresses of the nodes.")
    ssh: SshConfig = Field(description="How nodes are reached.")
    database: DatabaseConfig = Field(default=DatabaseConfig(), description="MariaDB.")
    oned: OnedConfig = Field(default=OnedConfig(), description="Settings of oned.conf.")
    rollout: RolloutConfig = Field(default=RolloutConfig(), description="How to replace nodes.")
    state: str = Field(
        default=DEFAULT_STATE,
        min_length=1,
        description="Where journal, lock, image catalogue, rehearsals, reports and the record of "
        "a cut-over are: a folder, or s3://BUCKET/PREFIX for several machines to share.",
    )
    local: str | None = Field(
        default=None,
        min_length=1,
        description="Folder of what stays on this machine: known ssh host keys, work folders of "
        "podman, Terraform and the bake. If left out, the state's own, or .onebaton beside S3.",
    )
    s3: S3Config = Field(default=S3Config(), description="The object store, if state is in one.")

    @field_validator("state")
    @classmethod
    def _state_place(cls, value: str, info: ValidationInfo) -> str:
        return state_place(value, info)

    @field_validator("local")
    @classmethod
    def _local_folder(cls, value: str | None, info: ValidationInfo) -> str | None:
        # A state that is itself wrong is not in `data`; it is told of, and this one is not used.
        if value is None and "://" in info.data.get("state", ""):
            value = DEFAULT_STATE
        return value if value is None else str(under_folder(value, info) or value)

    @property
    def local_folder(self) -> Path:
        """Where what stays on this machine is."""
        return Path(self.local or self.state)
