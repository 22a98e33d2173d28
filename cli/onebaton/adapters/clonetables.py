"""What is changed in each table of a clone's copy before its first start.

Pure: bodies in, bodies out. Passwords are kept as the SHA-256 of their text (driver core;
recorded answers). States and element names are OpenNebula's own (source: ``Host.h``,
``MarketPlace.h``, ``SchedAction.h``).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from onebaton.adapters import zonelist
from onebaton.adapters.bodyxml import Edit, Element, New, edited, elements, selector
from onebaton.cloning import Identity, ScrubRule

#: A driver that does nothing; ``oned`` knows it without starting a program for it.
DUMMY = b"dummy"
#: STATE of a host that is disabled, and of a marketplace that is.
HOST_DISABLED, MARKET_DISABLED = b"4", b"1"
#: A time that does not come: the last second that fits its column.
NEVER = 2147483647
#: The first user of all, and the one that the services beside ``oned`` log in with.
ONEADMIN_ID, SERVERADMIN_ID = 0, 1
#: Names that stay: users of every zone.
KEPT_NAMES = frozenset({b"oneadmin", b"serveradmin"})
#: Elements that hold the name of an object, its owner, its group.
_NAMING = frozenset({"NAME", "UNAME", "GNAME"})
#: Names of elements that hold what opens something: of users, storage, clouds, marketplaces.
_OPENS = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|ACCESS_KEY|PRIVATE_KEY|CREDENTIAL")
#: Documents of OneProvision: providers and provisions, with keys of clouds in them.
PROVISION_TYPES = (102, 103)

#: Statements for tables as a whole, before any row. Raft's log repeats all that ever was
#: written, secrets among it; an ``oned`` begins it anew.
EMPTIED = ("logdb", "hook_log")
#: Columns of virtual machines and their history that name drivers.
DRIVEN = (("vm_pool", "body"), ("vm_pool", "short_body"), ("history", "body"))
#: Finds these drivers in a statement: text within CDATA, as ``oned`` writes it.
DRIVER_SQL = r"<(VM_MAD|TM_MAD)><!\\[CDATA\\[(?!dummy\\])[^]]*\\]\\]></"
DUMMY_SQL = r"<\\1><![CDATA[dummy]]></"


@dataclass(frozen=True, slots=True)
class TableChange:
    """What becomes of the rows of one table.

    :param body: makes a new body from an id and a body.
    :param columns: values of other columns, as SQL, for every row.
    :param where: which rows, as SQL.
    """

    table: str
    body: Callable[[int, bytes], bytes]
    columns: Mapping[str, str] = field(default_factory=dict)
    where: str = "TRUE"


def opens_something(path: str) -> bool:
    """An element below a TEMPLATE that holds a password, a key or the like."""
    _, found, name = path.rpartition("/")
    return bool(found) and "/TEMPLATE/" in path and _OPENS.search(name) is not None


def is_secret(path: str) -> bool:
    """An element of a user's body that lets somebody in."""
    return path in ("/USER/PASSWORD", "/USER/LOGIN_TOKEN/TOKEN") or opens_something(path)


def stored(password: str) -> str:
    """A password as ``user_pool`` holds it."""
    return hashlib.sha256(password.encode()).hexdigest()


def digest(key: str, secret: bytes) -> str:
    """A secret as it can be compared and not be read."""
    return hmac.new(key.encode(), secret, hashlib.sha256).hexdigest()


def secrets_of(body: bytes) -> Iterator[bytes]:
    """What lets somebody in, of a user's body.

    :raises ValueError: if it is no XML.
    """
    for element in elements(body):
        if is_secret(element.path) and element.text:
            yield element.text


def service_password() -> str:
    """A new one for the services, as long as the vendor's own."""
    return secrets.token_hex(32)


def changes(identity: Identity, service: str) -> tuple[TableChange, ...]:
    """Everything that must be changed, whatever the rules say.

    :param service: the new password of the services' user.
    """
    dummy, blank = _becomes(DUMMY), _becomes(b"")
    opening: Edit = (opens_something, blank)
    return (
        TableChange("user_pool", lambda oid, body: _user(oid, body, identity, service)),
        TableChange(
            "host_pool",
            _editing(
                (selector("/HOST/STATE"), _becomes(HOST_DISABLED)),
                (selector("/HOST/PREV_STATE"), _becomes(HOST_DISABLED)),
                (selector("/HOST/IM_MAD"), dummy),
                (selector("/HOST/VM_MAD"), dummy),
                opening,
            ),
            {"state": HOST_DISABLED.decode()},
        ),
        TableChange(
            "datastore_pool",
            _editing(
                (selector("//DS_MAD"), dummy),
                (selector("//TM_MAD"), dummy),
                (selector("//BRIDGE_LIST"), blank),
                opening,
            ),
        ),
        TableChange(
            "marketplace_pool",
            _editing(
                (selector("/MARKETPLACE/STATE"), _becomes(MARKET_DISABLED)),
                (selector("//MARKET_MAD"), dummy),
                opening,
            ),
        ),
        TableChange(
            "hook_pool",
            _editing(
                (selector("//COMMAND"), _becomes(b"/bin/true")),
                (selector("//REMOTE"), _becomes(b"NO")),
            ),
        ),
        TableChange(
            "schedaction_pool",
            _editing((selector("//TIME"), _becomes(str(NEVER).encode()))),
            {"time": str(NEVER)},
        ),
        TableChange(
            "backupjob_pool",
            _editing(
                (selector("/BACKUPJOB/OUTDATED_VMS"), blank),
                (selector("/BACKUPJOB/BACKING_UP_VMS"), blank),
            ),
            {"outdated_vms": "0"},
        ),
        TableChange(
            "document_pool",
            _editing((selector("/DOCUMENT/TEMPLATE/*"), _becomes(b"{}"))),
            where=f"type IN ({', '.join(map(str, PROVISION_TYPES))})",
        ),
    )


def zone_body(body: bytes, identity: Identity) -> bytes:
    """The row of the clone's own zone: its name, its endpoint, one server, enabled.

    :raises ValueError: if it is no zone's row.
    """
    listed = zonelist.with_servers(body, [identity.server], enabled=True)
    endpoint = f"<ENDPOINT><![CDATA[{identity.endpoint}]]></ENDPOINT>".encode()
    renamed = edited(
        listed,
        [
            (selector("/ZONE/NAME"), _becomes(identity.zone.encode())),
            # Whatever else stands there names production's services.
            (selector("/ZONE/TEMPLATE"), _becomes(b"")),
        ],
    )
    empty = b"<TEMPLATE></TEMPLATE>"
    if renamed.count(empty) != 1:
        raise ValueError("a zone without a template")
    return renamed.replace(empty, b"<TEMPLATE>" + endpoint + b"</TEMPLATE>")


def scrubbing(
    rules: Sequence[ScrubRule], key: str, user: str
) -> Mapping[str, Callable[[int, bytes], bytes]]:
    """What the rules make of a body, by table.

    :param key: of the digests that ``hash`` puts in place: equal texts stay equal.
    :param user: whose name stays, besides those of every zone's users.
    """
    kept = KEPT_NAMES | {user.encode()}
    by_table: dict[str, list[ScrubRule]] = {}
    for rule in rules:
        by_table.setdefault(rule.table, []).append(rule)

    def of(own: Sequence[ScrubRule]) -> Callable[[int, bytes], bytes]:
        def scrub(oid: int, body: bytes) -> bytes:
            return edited(body, [(selector(r.element), _scrubbed(r, oid, key, kept)) for r in own])

        return scrub

    return {table: of(own) for table, own in by_table.items()}


def _scrubbed(
    rule: ScrubRule, oid: int, key: str, kept: frozenset[bytes]
) -> Callable[[Element], New]:
    def become(element: Element) -> New:
        text = element.text
        if element.name in _NAMING and text in kept:
            return text
        if rule.action == "blank":
            return b""
        if rule.action == "replace":
            return rule.text.replace("{id}", str(oid)).encode()
        return digest(key, text)[:16].encode() if text else b""

    return become


def _user(oid: int, body: bytes, identity: Identity, service: str) -> bytes:
    """A user whose password of before, and whose tokens, open nothing any more."""
    named = selector("/USER/NAME")
    is_ours = oid == ONEADMIN_ID or any(
        named(e.path) and e.text == identity.user.encode() for e in elements(body)
    )
    driver = b"core"
    if is_ours:
        password = stored(identity.password.reveal())
    elif oid == SERVERADMIN_ID:
        # The services log in by a driver of their own, with the same digest.
        password, driver = stored(service), b"server_cipher"
    else:
        password = stored(secrets.token_hex(32))
    return edited(
        body,
        [
            (selector("/USER/PASSWORD"), _becomes(password.encode())),
            (selector("/USER/AUTH_DRIVER"), _becomes(driver)),
            (selector("/USER/LOGIN_TOKEN"), lambda _element: None),
            # OneGate signs machines' tokens with it: a new one, because it must not be empty.
            (
                selector("/USER/TEMPLATE/TOKEN_PASSWORD"),
                _becomes(stored(secrets.token_hex(32)).encode()),
            ),
            (opens_something, _becomes(b"")),
        ],
    )


def _editing(*edits: Edit) -> Callable[[int, bytes], bytes]:
    return lambda _oid, body: edited(body, edits)


def _becomes(new: bytes) -> Callable[[Element], New]:
    return lambda _element: new
