"""From a request to its answer: who asks, who may answer, and what goes wrong.

Source of the order of checks and of the texts: ``Request.cc``; shapes and codes
are the recorded ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from onecore.client import CallFailed, call_once
from onecore.release import Release
from onecore.xmlrpc import FAULT_NO_SUCH_METHOD, FAULT_TYPE, Fault, Long, Param
from oned import objects
from oned.database import DatabaseError, escape
from oned.journal import Journal
from oned.raft import Raft
from oned.store import Store
from oned.zone_table import ZoneTable

AUTHENTICATION, AUTHORIZATION, NO_EXISTS, ACTION = 256, 512, 1024, 2048
XML_RPC_API, INTERNAL, ALLOCATE = 4096, 8192, 16384
_FORWARD_TIMEOUT_S = 10.0

Value = bool | int | str


class Refused(Exception):
    """A request that is answered with an error.

    :ivar code: the third element of the answer.
    :ivar object_id: its fourth.
    """

    def __init__(self, code: int, text: str, object_id: int = -1) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.object_id = object_id


@dataclass(frozen=True, slots=True)
class Caller:
    """The user behind a session."""

    uid: int
    gid: int
    name: str
    group: str
    groups: frozenset[int]

    @property
    def is_oneadmin(self) -> bool:
        """Whether it is the first user, as servers among themselves are."""
        return self.uid == 0

    @property
    def is_admin(self) -> bool:
        """Whether it may administer the zone."""
        return self.uid == 0 or 0 in self.groups

    @property
    def owner(self) -> objects.Owner:
        """As the owner of what it creates."""
        return objects.Owner(self.uid, self.gid, self.name, self.group)


class Arguments:
    """Parameters after the session, read with their types.

    Every reader raises the fault xmlrpc-c raises for a wrong type (recorded:
    ``one.user.allocate`` with a string for an array).
    """

    def __init__(self, params: Sequence[Param]) -> None:
        self._params = params

    def __len__(self) -> int:
        return len(self._params)

    def _get(self, position: int) -> Param:
        if position >= len(self._params):
            raise Fault(FAULT_TYPE, "Not enough parameters")
        return self._params[position]

    def number(self, position: int) -> int:
        """An ``<i4>``."""
        value = self._get(position)
        if isinstance(value, (bool, Long)) or not isinstance(value, int):
            raise Fault(FAULT_TYPE, "Parameter that is supposed to be integer is not")
        return value

    def long(self, position: int) -> int:
        """An ``<i8>``, unsigned as the real one reads it."""
        value = self._get(position)
        if not isinstance(value, Long):
            raise Fault(FAULT_TYPE, "Parameter that is supposed to be 64-bit integer is not")
        return int(value) & ((1 << 64) - 1)

    def flag(self, position: int) -> bool:
        """A ``<boolean>``."""
        value = self._get(position)
        if not isinstance(value, bool):
            raise Fault(FAULT_TYPE, "Parameter that is supposed to be boolean is not")
        return value

    def text(self, position: int) -> str:
        """A ``<string>``."""
        value = self._get(position)
        if not isinstance(value, str):
            raise Fault(FAULT_TYPE, "Parameter that is supposed to be a string is not")
        return value

    def array(self, position: int) -> list[Param]:
        """An ``<array>``."""
        value = self._get(position)
        if not isinstance(value, list):
            raise Fault(FAULT_TYPE, "Parameter that is supposed to be an array is not")
        return value


Handler = Callable[[Caller, Arguments], Value]


@dataclass(frozen=True, slots=True)
class Method:
    """How a method is served.

    :ivar leader_only: forwarded by a follower.
    :ivar when_disabled: served in a disabled zone too.
    """

    handler: Handler
    leader_only: bool = True
    when_disabled: bool = False
    quiet: bool = False


def reading(handler: Handler) -> Method:
    """A method every server answers, in any state of the zone."""
    return Method(handler, leader_only=False, when_disabled=True)


@dataclass(slots=True)
class Calls:
    """All methods of the API."""

    raft: Raft
    store: Store
    journal: Journal
    zone: ZoneTable
    release: Release
    methods: dict[str, Method] = field(default_factory=dict)

    def answer(self, method: str, params: Sequence[Param], peer: str) -> list[Param]:
        """The answer's array.

        :raises Fault: for an unknown method or a wrong parameter.
        """
        served = self.methods.get(method)
        if served is None:
            raise Fault(FAULT_NO_SUCH_METHOD, f"Method '{method}' not defined")
        arguments = Arguments(params)
        try:
            caller = self._authenticate(arguments.text(0))
            answer = self._serve(served, method, params, caller)
        except Refused as refusal:
            answer = _refusal(method, refusal)
            caller = None
        except DatabaseError as error:
            self.journal.error("ONE", str(error))
            answer = _refusal(method, Refused(INTERNAL, ""))
            caller = None
        if not served.quiet:
            self._note(method, caller, answer, peer)
        return answer

    def _note(self, method: str, caller: Caller | None, answer: list[Param], peer: str) -> None:
        number = random.randrange(10000)
        uid = "-" if caller is None else str(caller.uid)
        self.journal.debug("ReM", f"Req:{number} UID:{uid} IP:{peer} {method} invoked")
        if answer[0] is True:
            self.journal.debug("ReM", f"Req:{number} UID:{uid} {method} result SUCCESS")
        else:
            self.journal.error("ReM", f"Req:{number} UID:{uid} {method} result FAILURE {answer[1]}")

    def _authenticate(self, session: str) -> Caller:
        name, separator, password = session.partition(":")
        if separator:
            rows = self.store.read(f"SELECT body FROM user_pool WHERE name = '{escape(name)}'")
            body = str(rows[0][0]) if rows else ""
            if (
                body
                and objects.element(body, "NAME") == name
                and objects.element(body, "ENABLED") == "1"
                and objects.element(body, "AUTH_DRIVER") == "core"
                and objects.element(body, "PASSWORD") == objects.digest(password)
            ):
                members = objects.element(body, "GROUPS").replace("</ID>", " ").replace("<ID>", "")
                return Caller(
                    uid=int(objects.element(body, "ID")),
                    gid=int(objects.element(body, "GID")),
                    name=name,
                    group=objects.element(body, "GNAME"),
                    groups=frozenset(int(one) for one in members.split()),
                )
        raise Refused(AUTHENTICATION, "User couldn't be authenticated, aborting call.")

    def _serve(
        self, served: Method, method: str, params: Sequence[Param], caller: Caller
    ) -> list[Param]:
        if served.leader_only:
            if self.raft.is_follower():
                return self._forward(method, params)
            if self.raft.is_candidate():
                raise Refused(INTERNAL, "Cannot process request, oned cluster in election mode")
            if self.raft.reconciling:
                raise Refused(INTERNAL, "Cannot process request, oned cluster is replicating log")
        if self.zone.disabled and not served.when_disabled:
            raise Refused(INTERNAL, "Cannot process request, zone disabled")
        return [True, served.handler(caller, Arguments(params)), 0]

    def _forward(self, method: str, params: Sequence[Param]) -> list[Param]:
        endpoint = self.raft.leader_endpoint()
        if endpoint is None:
            raise Refused(INTERNAL, "Cannot process request, no leader found")
        try:
            return call_once(endpoint, method, params, _FORWARD_TIMEOUT_S)
        except CallFailed as failure:
            raise Refused(INTERNAL, str(failure)) from failure


def _refusal(method: str, refusal: Refused) -> list[Param]:
    return [False, f"[{method}] {refusal.text}", refusal.code, refusal.object_id, Long(-1)]


def not_authorized(caller: Caller, title: str, object_id: int = -1) -> Refused:
    """The refusal for a caller without the right."""
    return Refused(
        AUTHORIZATION,
        f"User [{caller.uid}] not authorized to perform action on {title}.",
        object_id,
    )


def missing(title: str, object_id: int) -> Refused:
    """The refusal for an object that is not there."""
    return Refused(NO_EXISTS, f"Error getting {title} [{object_id}].", object_id)
