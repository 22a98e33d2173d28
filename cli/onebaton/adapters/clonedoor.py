"""A clone's nodes over ssh: the port ``CloneDoor``.

Rows are read into this machine's memory in portions, changed here, and written back on standard
input: no secret stands in a process list, a message or a file on the way.

Rooms of this house: :mod:`clonecopy` (the database), :mod:`clonetables` (what becomes of each
row), :mod:`clonescripts` (shell).
"""

import base64
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from onebaton.adapters import (
    clonecopy,
    cloneproof,
    clonescripts,
    clonetables,
    nodesecrets,
    reaching,
)
from onebaton.adapters.dbdump import SeedByPipes
from onebaton.adapters.mariadb import NodeDatabase
from onebaton.adapters.ssh import Ssh
from onebaton.cloning import Identity, Place, Production, ScrubRule
from onebaton.errors import UnavailableError
from onebaton.model import Host
from onebaton.ports import Reporter

SHORT_TIMEOUT_S = 60.0
#: Seconds that one place is given to answer.
KNOCK_S = 2
#: For knocking at many places, some at a time.
KNOCK_TIMEOUT_S = 600.0
#: What services beside ``oned`` log in with (source: ``UserPool.cc``).
SERVICE_FILES = ("sunstone_auth", "oneflow_auth", "onegate_auth")
SERVICE_USER = "serveradmin"
_PRIVATE_KEY = b"-----BEGIN"


class SshCloneDoor:
    """Clones over ssh (implements the port ``CloneDoor``).

    :param ssh: the way to the clone's nodes.
    :param production: the way to production's; ``None`` where the copy comes from a dump.
    :param database: the database's name, here and there.
    :param pace_mib_s: MiB a second that are read from production's database at most.
    """

    def __init__(
        self,
        ssh: Ssh,
        *,
        production: Ssh | None,
        database: str,
        pace_mib_s: float | None,
        reporter: Reporter,
    ) -> None:
        self._ssh = ssh
        self._production = production
        self._name = database
        self._pace_mib_s = pace_mib_s
        self._reporter = reporter

    def seed(self, source: Host, target: Host, *, timeout_s: float) -> None:
        """See ``CloneDoor.seed``."""
        way = SeedByPipes(
            self._ssh,
            self._reporter,
            source_ssh=self._of_production(),
            pace_mib_s=self._pace_mib_s,
        )
        way.seed(self._name, source, [target], timeout_s=timeout_s)

    def load(self, dump: Path, target: Host, *, timeout_s: float) -> None:
        """See ``CloneDoor.load``."""
        way = SeedByPipes(self._ssh, self._reporter)
        way.load(self._name, dump, target, timeout_s=timeout_s)

    def read_production(self, target: Host, source: Host | None) -> Production:
        """See ``CloneDoor.read_production``."""
        key = secrets.token_hex(32)
        said = clonecopy.read_production(self._db(target), key)
        if source is None:
            return said
        files = _secrets_in(self._files(self._of_production(), source))
        digests = said.digests | {clonetables.digest(key, secret) for secret in files}
        return Production(said.endpoints, said.hosts, key, digests)

    def change(
        self, target: Host, identity: Identity, rules: Sequence[ScrubRule]
    ) -> Mapping[str, int]:
        """See ``CloneDoor.change``."""
        service = clonetables.service_password()
        what = "giving the node secrets of its own"
        counts = clonecopy.change(self._db(target), identity, rules, service=service)
        self._ssh.run(target, clonescripts.FORGET_SECRETS, timeout_s=SHORT_TIMEOUT_S, what=what)
        # The first user of all: servers call each other with it, whatever its name.
        nodesecrets.write_auth(
            self._ssh, target, clonecopy.first_user(self._db(target)), identity.password
        )
        lines = "".join(f"{name} {SERVICE_USER}:{service}\n" for name in SERVICE_FILES)
        self._ssh.run(
            target,
            clonescripts.WRITE_SERVICE_AUTH,
            stdin=lines,
            timeout_s=SHORT_TIMEOUT_S,
            what=what,
        )
        return counts

    def prove(
        self, target: Host, identity: Identity, production: Production, *, started: bool
    ) -> tuple[str, ...]:
        """See ``CloneDoor.prove``."""
        database = self._db(target)
        if started:
            problems = [*cloneproof.names_or_opens(database, production)]
        else:
            problems = [*cloneproof.still_production(database, identity, production)]
        for name, content in self._files(self._ssh, target):
            digests = {
                clonetables.digest(production.key, s) for s in _secrets_in([(name, content)])
            }
            if digests & production.digests:
                problems.append(f"/var/lib/one/{name} holds a secret of production")
        return tuple(problems)

    def answering(self, node: Host, places: Sequence[Place]) -> tuple[Place, ...]:
        """See ``CloneDoor.answering``."""
        if not places:
            return ()
        done = self._ssh.run(
            node,
            reaching.knock(KNOCK_S),
            stdin=reaching.told((place.address, place.port) for place in places),
            timeout_s=KNOCK_TIMEOUT_S,
            what="trying to reach production",
        )
        return tuple(sorted(Place(*place) for place in reaching.answered(done.stdout)))

    def _files(self, ssh: Ssh, host: Host) -> list[tuple[str, bytes]]:
        """Files of ``.one`` and ``.ssh``, by their names below ``/var/lib/one``."""
        # A pipe: unlike that of a run, its output never gets into a message.
        what = "reading the node's secrets"
        parts: list[bytes] = []
        with ssh.pipe(
            host, clonescripts.READ_SECRETS, stdin=False, timeout_s=SHORT_TIMEOUT_S
        ) as pipe:
            while part := os.read(pipe.stdout.fileno(), 1 << 20):
                parts.append(part)
            pipe.finish(timeout_s=SHORT_TIMEOUT_S, what=f"{what} on {host.name}")
        pairs = (line.split(b" ") for line in b"".join(parts).splitlines())
        return [
            (base64.b64decode(name).decode("utf-8", "replace").strip(), base64.b64decode(content))
            for name, content in pairs
        ]

    def _of_production(self) -> Ssh:
        if self._production is None:
            raise UnavailableError(
                "there is no way to production here",
                resolution="A clone of a dump never looks at it: this is a bug.",
            )
        return self._production

    def _db(self, host: Host) -> NodeDatabase:
        return NodeDatabase(self._ssh, host, self._name)


def _secrets_in(files: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """What opens something in these files, in all forms in which it may be met again."""
    found: list[bytes] = []
    for name, content in files:
        text = content.strip()
        if name.startswith(".ssh/"):
            found += [text] if text.startswith(_PRIVATE_KEY) else []
        elif name.endswith("_auth"):
            password = text.partition(b":")[2]
            found += [password, clonetables.stored(password.decode("utf-8", "replace")).encode()]
        else:
            found.append(text)
    return [secret for secret in found if secret]
