"""Clients that add, change and delete objects of every pool, and remember each acknowledgement.

An operation without an answer may have been carried out or not; its object is left alone from
then on, and either is right. All methods and parameters are OpenNebula's own.
"""

import secrets
import time
import xmlrpc.client
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from tests.e2e.traffic import SERVICE_TYPE, Clients, DeadlineTransport, Line

#: Parameters that create an object of a pool; ``{}`` is its name. Documents are of a type that
#: the migration keeps.
POOLS: dict[str, tuple[object, ...]] = {
    "backupjob": ('NAME="{}"',),
    "cluster": ("{}",),
    "datastore": ('NAME="{}"\nDS_MAD="dummy"\nTM_MAD="dummy"', 0),
    "document": ('NAME="{}"\nBODY="{{\\"roles\\":[]}}"', SERVICE_TYPE),
    "group": ("{}",),
    "hook": ('NAME="{}"\nTYPE="api"\nCALL="one.vm.allocate"\nCOMMAND="true"',),
    "host": ("{}", "dummy", "dummy", 0),
    "image": ('NAME="{}"\nTYPE="DATABLOCK"\nSIZE="1"', 1),
    "market": ('NAME="{}"\nMARKET_MAD="http"\nBASE_URL="http://localhost/"\nPUBLIC_DIR="/tmp"',),
    "marketapp": ('NAME="{}"', 0),
    "secgroup": ('NAME="{}"',),
    "template": ('NAME="{}"',),
    "user": ("{}", "secret", ""),
    "vdc": ('NAME="{}"',),
    "vm": ('NAME="{}"\nCPU="1"\nMEMORY="64"', False),
    "vmgroup": ('NAME="{}"',),
    "vn": ('NAME="{}"\nVN_MAD="dummy"\nBRIDGE="br0"', 0),
    "vntemplate": ('NAME="{}"\nVN_MAD="dummy"',),
    "vrouter": ('NAME="{}"',),
}
#: A rule has no name; its users make it one of its own.
RULE = "acl"
#: The zone itself: changed, neither added nor deleted.
ZONE = "zone"
_NO_SUCH_OBJECT = 1024
_DONE = "6"
#: So many objects of a pool a client keeps; beyond it deletes the oldest.
_KEPT = 2


@dataclass(frozen=True, order=True)
class Object:
    """One of a pool's objects."""

    pool: str
    id: int


#: What an object shows: its note, a machine's with its state before it; ``None`` is gone.
Shown = str | None


@dataclass
class Books:
    """What each object may show: one thing after an acknowledgement, else all that was asked for.

    :param operations: acknowledged ones, by pool and kind.
    """

    allowed: dict[Object, set[Shown]] = field(default_factory=lambda: defaultdict(set))
    operations: Counter[tuple[str, str]] = field(default_factory=Counter)


class Churn(Clients):
    """Several clients, each with objects of its own: one through the VIP, one through members.

    :param hz: operations a second of each.
    """

    def __init__(
        self,
        session: str,
        vip: str,
        members: Callable[[], tuple[str, ...]],
        *,
        hz: float = 5.0,
    ) -> None:
        super().__init__(session, vip, members)
        self._hz = hz
        self.books = Books()
        self.lines = {"vip": Line(), "members": Line()}

    def start(self) -> None:
        """Begin.

        :raises AssertionError: if the host that machines are deployed to cannot be made.
        """
        self.began = time.monotonic()
        proxy = xmlrpc.client.ServerProxy(self._vip, transport=DeadlineTransport(5.0))
        # Other clients may have been here before: names and rules must be new.
        run = secrets.randbelow(10**5)
        answer = proxy.one.host.allocate(self._session, f"metal-{run}", "dummy", "dummy", 0)
        assert answer[0], answer[1]
        for where, target in (("vip", lambda: self._vip), ("members", self._next_member)):
            client = _Client(self._session, where, run, answer[1], self.books)
            self._spawn(self._pace, self._hz, target, client.operate, self.lines[where])

    def acknowledged(self) -> int:
        """How many operations were."""
        return sum(self.books.operations.values())

    def unused(self) -> list[str]:
        """Pools in which not everything that can be done was done and acknowledged."""
        done = self.books.operations
        wanted = [(pool, kind) for pool in (*POOLS, RULE) for kind in ("add", "delete")]
        wanted += [(pool, "change") for pool in (*POOLS, ZONE)] + [("vm", "deploy")]
        return [f"{pool}: {kind}" for pool, kind in wanted if not done[pool, kind]]

    def wrong(self, endpoint: str) -> list[str]:
        """What a server shows of the objects that it must not show; empty if nothing is lost."""
        proxy = xmlrpc.client.ServerProxy(endpoint, transport=DeadlineTransport(10.0))
        rules = _rules(proxy, self._session)
        found = []
        for one, allowed in sorted(self.books.allowed.items()):
            if one.pool == RULE:
                shown: Shown = "" if one.id in rules else None
            else:
                shown = _shown(proxy, self._session, one)
            if shown not in allowed:
                found.append(f"{one.pool} {one.id} shows {shown!r}, acknowledged: {allowed}")
        return found


class _Client:
    """One client; its objects are nobody else's.

    :param run: tells them from those of earlier clients.
    :param metal: id of the host that machines are deployed to.
    """

    def __init__(self, session: str, name: str, run: int, metal: int, books: Books) -> None:
        self._session = session
        self._name = name
        self._run = run
        self._metal = metal
        self._books = books
        self._number = 0
        self._own: dict[str, list[Object]] = defaultdict(list)
        self._turn = self._turns()

    def _turns(self) -> Iterable[tuple[str, bool]]:
        """Pools in turn; in every second round objects are added."""
        while True:
            for adding in (True, False):
                for pool in (*POOLS, RULE, ZONE):
                    yield pool, adding

    def operate(self, proxy) -> str | None:
        """The next operation; why it was refused."""
        pool, adding = next(self._turn)
        self._number += 1
        if pool == ZONE:
            # Only one of the clients: the last acknowledged change must be known.
            if self._name != "vip":
                return None
            return self._change(proxy, Object(ZONE, 0))
        own = self._own[pool]
        if adding or not own:
            return self._add(proxy, pool)
        if len(own) > _KEPT or pool == RULE:
            return self._delete(proxy, own.pop(0))
        one = own.pop(self._number % len(own))
        if pool == "vm" and self._shown(one).startswith("1/"):
            problem = self._deploy(proxy, one)
        else:
            problem = self._change(proxy, one)
        if problem is None:
            own.append(one)
        return problem

    def _add(self, proxy, pool: str) -> str | None:
        name = f"churn-{self._run}-{self._name}-{self._number}"
        if pool == RULE:
            user = self._run * 10000 + self._number * 2 + (self._name == "vip")
            rule = (f"{(1 << 32) + user:x}", "1000400000000", "1", "400000000")
            answer = proxy.one.acl.addrule(self._session, *rule)
        else:
            given = [one.format(name) if isinstance(one, str) else one for one in POOLS[pool]]
            answer = getattr(proxy.one, pool).allocate(self._session, *given)
        if not answer[0]:
            return answer[1]
        one = Object(pool, answer[1])
        self._note(one, "add", "1/" if pool == "vm" else "")
        self._own[pool].append(one)
        return None

    def _change(self, proxy, one: Object) -> str | None:
        note = f"{self._name}-{self._number}"
        method = getattr(proxy.one, one.pool).update
        return self._try(
            one, "change", self._state(one) + note, method, one.id, f'NOTE="{note}"', 1
        )

    def _deploy(self, proxy, one: Object) -> str | None:
        after = "3/" + self._shown(one).removeprefix("1/")
        return self._try(one, "deploy", after, proxy.one.vm.deploy, one.id, self._metal)

    def _delete(self, proxy, one: Object) -> str | None:
        if one.pool == "vm":
            after = f"{_DONE}/" + self._shown(one).split("/", 1)[1]
            return self._try(one, "delete", after, proxy.one.vm.action, "terminate-hard", one.id)
        kind = getattr(proxy.one, one.pool)
        method = kind.delrule if one.pool == RULE else kind.delete
        return self._try(one, "delete", None, method, one.id)

    def _try(self, one: Object, kind: str, after: Shown, method, *arguments) -> str | None:
        """Ask for it; until it is acknowledged, both before and after are right."""
        self._books.allowed[one].add(after)
        answer = method(self._session, *arguments)
        if not answer[0]:
            return answer[1]
        self._note(one, kind, after)
        return None

    def _note(self, one: Object, kind: str, shown: Shown) -> None:
        self._books.allowed[one] = {shown}
        self._books.operations[one.pool, kind] += 1

    def _shown(self, one: Object) -> str:
        (shown,) = self._books.allowed[one]
        assert shown is not None
        return shown

    def _state(self, one: Object) -> str:
        return self._shown(one).split("/", 1)[0] + "/" if one.pool == "vm" else ""


def _rules(proxy, session: str) -> set[int]:
    answer = proxy.one.acl.info(session)
    assert answer[0], answer[1]
    return {int(rule.findtext("ID")) for rule in ET.fromstring(answer[1]).iter("ACL")}


def _shown(proxy, session: str, one: Object) -> Shown:
    more = [False] if one.pool == ZONE else []
    answer = getattr(proxy.one, one.pool).info(session, one.id, *more)
    if not answer[0]:
        assert answer[2] == _NO_SUCH_OBJECT, answer[1]
        return None
    root = ET.fromstring(answer[1])
    if one.pool == "vm":
        return f"{root.findtext('STATE')}/{root.findtext('USER_TEMPLATE/NOTE') or ''}"
    return root.findtext("TEMPLATE/NOTE") or ""
