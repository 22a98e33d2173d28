"""``oned.conf`` with the real defaults under it, and the stand-in's delays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from onecore.template import Template, TemplateError, Vector, cdata

# Values the real server has without a line in oned.conf (recorded one.system.config).
_DEFAULTS: dict[str, str] = {
    "API_LIST_ORDER": "DESC",
    "DATASTORE_LOCATION": "/var/lib/one//datastores",
    "DEFAULT_UMASK": "177",
    "ENABLE_OTHER_PERMISSIONS": "YES",
    "KEEPALIVE_MAX_CONN": "30",
    "KEEPALIVE_TIMEOUT": "15",
    "LISTEN_ADDRESS": "0.0.0.0",
    "LOG_CALL_FORMAT": "Req:%i UID:%u IP:%A %m invoked %l",
    "MANAGER_TIMER": "15",
    "MAX_CONN": "15",
    "MAX_CONN_BACKLOG": "15",
    "MESSAGE_SIZE": "1073741824",
    "PORT": "2633",
    "RPC_LOG": "NO",
    "SCRIPTS_REMOTE_DIR": "/var/tmp/one",
    "SESSION_EXPIRATION_TIME": "900",
    "TIMEOUT": "15",
}
_VECTOR_DEFAULTS: dict[str, Vector] = {
    "DB": {
        "BACKEND": "sqlite",
        "COMPARE_BINARY": "no",
        "CONNECTIONS": "25",
        "DB_NAME": "opennebula",
        "PASSWD": "oneadmin",
        "PORT": "0",
        "SERVER": "localhost",
        "USER": "oneadmin",
    },
    "FEDERATION": {"MODE": "STANDALONE", "ZONE_ID": "0", "SERVER_ID": "-1", "MASTER_ONED": ""},
    "LOG": {"SYSTEM": "file", "DEBUG_LEVEL": "3", "USE_VMS_LOCATION": "NO"},
    "RAFT": {
        "BROADCAST_TIMEOUT_MS": "500",
        "ELECTION_TIMEOUT_MS": "5000",
        "LIMIT_PURGE": "100000",
        "LOG_PURGE_TIMEOUT": "60",
        "LOG_RETENTION": "250000",
        "XMLRPC_TIMEOUT_MS": "1000",
    },
}


class SettingsError(Exception):
    """``oned.conf`` cannot be used."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A command that Raft runs when the server's part changes."""

    name: str
    command: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Raft:
    """Section RAFT; times in milliseconds and seconds as there."""

    limit_purge: int
    log_retention: int
    log_purge_timeout_s: int
    election_timeout_ms: int
    broadcast_timeout_ms: int
    xmlrpc_timeout_ms: int


@dataclass(frozen=True, slots=True)
class Database:
    """Section DB."""

    server: str
    port: int
    user: str
    password: str
    name: str
    connections: int


@dataclass(frozen=True, slots=True)
class Delays:
    """How long the real one takes where the stand-in would be faster.

    Measured: 5 to 5.5 s from start to the first answer, of which 1 s until Raft
    runs; about 6 s to stop; 15 s of warm-up (source); 55–90 records/s when a
    follower catches up.
    """

    start_delay_s: float = 5.0
    stop_delay_s: float = 6.0
    warmup_s: float = 15.0
    row_delay_ms: float = 11.0

    @classmethod
    def read(cls, path: Path) -> Delays:
        """Read ``standin.conf``, KEY=VALUE a line; without it the real ones hold.

        :raises SettingsError: if a line is not understood.
        """
        if not path.exists():
            return cls()
        known = {field.name.upper(): field.name for field in fields(cls)}
        values: dict[str, float] = {}
        for raw in path.read_text(encoding="utf-8").splitlines():
            line = raw.split("#", 1)[0].strip()
            if not line:
                continue
            key, separator, value = line.partition("=")
            name = known.get(key.strip())
            if name is None and key.strip() == "MIGRATE_ROW_MS":
                continue
            try:
                if name is None or not separator:
                    raise ValueError
                values[name] = float(value)
            except ValueError as error:
                raise SettingsError(f"{path}: cannot read {line!r}") from error
        return cls(**values)


class Settings:
    """Everything ``oned.conf`` says, defaults included."""

    def __init__(self, template: Template) -> None:
        for name, text in _DEFAULTS.items():
            if template.single(name) is None:
                template.attributes.append((name, text))
        for name, defaults in _VECTOR_DEFAULTS.items():
            given = template.vector(name) or {}
            template.replace(name, {**defaults, **given})
        self.template = template

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read ``oned.conf``.

        :raises SettingsError: if it is missing or is no template.
        """
        try:
            return cls(Template.parse(path.read_text(encoding="utf-8")))
        except (OSError, TemplateError) as error:
            raise SettingsError(
                f"Error while loading configuration file {path}: {error}"
            ) from error

    def text(self, name: str) -> str:
        """A plain value, empty if there is none."""
        return self.template.single(name) or ""

    def number(self, name: str) -> int:
        """A plain number.

        :raises SettingsError: if it is none.
        """
        return _number(name, self.text(name))

    def section(self, name: str) -> Vector:
        """A bracketed value, empty if there is none."""
        return self.template.vector(name) or {}

    @property
    def mode(self) -> str:
        """FEDERATION MODE in capitals."""
        return self.section("FEDERATION")["MODE"].upper()

    @property
    def zone_id(self) -> int:
        """The zone's id; a standalone zone always is 0."""
        if self.mode == "STANDALONE":
            return 0
        return _number("ZONE_ID", self.section("FEDERATION")["ZONE_ID"])

    @property
    def server_id(self) -> int:
        """This server's id, -1 for a server on its own."""
        try:
            return int(self.section("FEDERATION")["SERVER_ID"])
        except ValueError:
            return -1

    @property
    def raft(self) -> Raft:
        """Section RAFT."""
        section = self.section("RAFT")
        return Raft(
            limit_purge=_number("LIMIT_PURGE", section["LIMIT_PURGE"]),
            log_retention=_number("LOG_RETENTION", section["LOG_RETENTION"]),
            log_purge_timeout_s=_number("LOG_PURGE_TIMEOUT", section["LOG_PURGE_TIMEOUT"]),
            election_timeout_ms=_number("ELECTION_TIMEOUT_MS", section["ELECTION_TIMEOUT_MS"]),
            broadcast_timeout_ms=_number("BROADCAST_TIMEOUT_MS", section["BROADCAST_TIMEOUT_MS"]),
            xmlrpc_timeout_ms=_number("XMLRPC_TIMEOUT_MS", section["XMLRPC_TIMEOUT_MS"]),
        )

    @property
    def database(self) -> Database:
        """Section DB.

        :raises SettingsError: if it names no MySQL; the stand-in has no SQLite.
        """
        section = self.section("DB")
        if section["BACKEND"] != "mysql":
            raise SettingsError("DB BACKEND must be sqlite or mysql.")
        return Database(
            server=section["SERVER"],
            port=_number("PORT", section["PORT"]),
            user=section["USER"],
            password=section["PASSWD"],
            name=section["DB_NAME"],
            connections=_number("CONNECTIONS", section["CONNECTIONS"]),
        )

    def hook(self, name: str) -> Hook | None:
        """RAFT_LEADER_HOOK or RAFT_FOLLOWER_HOOK."""
        section = self.template.vector(name)
        if not section or not section.get("COMMAND"):
            return None
        return Hook(name, section["COMMAND"], section.get("ARGUMENTS", ""))

    def to_xml(self) -> str:
        """The answer of ``one.system.config``: everything, passwords too, as the real one."""
        parts = []
        for name, value in sorted(self.template.attributes, key=lambda pair: pair[0]):
            if isinstance(value, dict):
                inner = "".join(f"<{k}>{cdata(v)}</{k}>" for k, v in sorted(value.items()))
                parts.append(f"<{name}>{inner}</{name}>")
            else:
                parts.append(f"<{name}>{cdata(value)}</{name}>")
        return "<OPENNEBULA_CONFIGURATION>" + "".join(parts) + "</OPENNEBULA_CONFIGURATION>"


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise SettingsError(f"{name} must be a number, not {text!r}") from error
