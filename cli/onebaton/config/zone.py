"""The zone and its machines: servers, addresses, ssh, database, settings of ``oned``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from onebaton.config.section import SecretSource, Section
from onebaton.fields import (
    Address,
    DatabaseName,
    DatabaseUser,
    DeviceName,
    ExistingFile,
    Interface,
    Name,
    Seconds,
    Subnet,
    UserName,
    files_are_here,
    require_file,
)
from onebaton.model import Vip


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
        if files_are_here(info):
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


class OnedConfig(Section):
    """The part of oned.conf that a zone decides about (times in milliseconds)."""

    election_timeout_ms: int = Field(default=5000, ge=1000, description="ELECTION_TIMEOUT_MS")
    broadcast_timeout_ms: int = Field(default=500, ge=50, description="BROADCAST_TIMEOUT_MS")
    xmlrpc_timeout_ms: int = Field(default=1000, ge=100, description="XMLRPC_TIMEOUT_MS")
    log_retention: int = Field(default=250000, ge=1000, description="LOG_RETENTION, in records")
    limit_purge: int = Field(default=100000, ge=100, description="LIMIT_PURGE, in records")
