"""What a rehearsal proves: pure judgement of what was seen on a copy.

The schema decides and never the version number: the next release's own ``onedb version`` is
asked (facts: 0 roll, 2 cut over, 3 refuse, 1 broken). A migrator may drop rows without a word
(measured note: 2,099 documents became 0), so rows are counted before and after, and a loss
stops everything unless its table was accepted by name.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from onebaton.migration import AheadProof, Contents
from onebaton.model import Schema
from onebaton.plan.actions import CutWay
from onebaton.plan.findings import Finding
from onebaton.plan.wanted import CutWish

Change = Literal["left alone", "changed", "lost rows", "new", "gone"]

#: The node must hold the database so many times at once: the warm one, the copy that is migrated
#: ahead, the one that is migrated whole, and the tables that the migrator writes anew while it
#: still holds the old ones.
DATABASES_AT_ONCE = 4
#: For MariaDB's own logs meanwhile.
SPARE_BYTES = 256 * 1024 * 1024

_MIGRATOR = re.compile(r"(?P<kind>shared|local)/(?P<old>[\d.]+)_to_(?P<new>[\d.]+)\.rbm?")


class Verdict(Enum):
    """What the oracle's exit status means."""

    ROLL = 0
    BROKEN = 1
    CUT_OVER = 2
    REFUSE = 3


def verdict(status: int) -> Verdict:
    """The meaning of an exit status of ``onedb version``; whatever is not known is broken."""
    return Verdict(status) if status in {one.value for one in Verdict} else Verdict.BROKEN


def migrators(files: Iterable[str], database: Schema) -> tuple[str, ...]:
    """The migrators that would run, in their order: shared tables first (source: ``onedb.rb``).

    :param files: ``shared/A_to_B.rb``, ``local/A_to_B.rb`` of the next release.
    """
    steps: dict[tuple[str, str], tuple[str, str]] = {}
    for file in sorted(files, reverse=True):
        found = _MIGRATOR.fullmatch(file)
        # Sorted backwards, so that of both forms of one the plain one (.rb) counts.
        if found:
            steps[found["kind"], found["old"]] = (found["new"], file)
    return tuple(
        file
        for kind, version in (("shared", database.shared), ("local", database.local))
        for file in _chain(steps, kind, version)
    )


def _chain(
    steps: Mapping[tuple[str, str], tuple[str, str]], kind: str, version: str
) -> Iterator[str]:
    seen = set()
    while (kind, version) in steps and version not in seen:
        seen.add(version)
        version, file = steps[kind, version]
        yield file


def bytes_needed(database_bytes: int) -> int:
    """Room that a rehearsal takes on its node, the warm database included."""
    return DATABASES_AT_ONCE * database_bytes + SPARE_BYTES


def room(name: str, *, free: int, held: int, database_bytes: int) -> Iterator[Finding]:
    """The node holds the seed, the copies, and what the migrator writes.

    :param free: bytes free where its MariaDB keeps its data.
    :param held: bytes of a database there that a new seed replaces, or makes needless.
    """
    needed = bytes_needed(database_bytes)
    if free + held < needed:
        yield Finding(
            f"the disk of {name} is too small for the seed and its copies",
            f"{_mebibytes(free + held)} free, {_mebibytes(needed)} needed for a database of "
            f"{_mebibytes(database_bytes)}",
            "Give the nodes of the new image a larger disk.",
        )


@dataclass(frozen=True, slots=True)
class TableChange:
    """A table before and after the migration; ``None`` where there is no such table."""

    name: str
    before: int | None
    after: int | None
    change: Change

    @property
    def lost(self) -> int:
        """How many rows fewer there are."""
        return max((self.before or 0) - (self.after or 0), 0)


def compare(before: Contents, after: Contents) -> tuple[TableChange, ...]:
    """Every table of either side, by name."""
    names = sorted({*before.rows, *after.rows})
    return tuple(_compared(name, before, after) for name in names)


def _compared(name: str, before: Contents, after: Contents) -> TableChange:
    old, new = before.rows.get(name), after.rows.get(name)
    change: Change = "left alone"
    if old is None:
        change = "new"
    elif new is None:
        # An empty table that is dropped loses nothing; one with rows does.
        change = "lost rows" if old else "gone"
    elif new < old:
        change = "lost rows"
    elif new != old or _content(before, name) != _content(after, name):
        change = "changed"
    return TableChange(name, old, new, change)


def _content(contents: Contents, name: str) -> tuple[int | None, tuple[str, ...] | None]:
    return contents.sums.get(name), contents.shapes.get(name)


def losses(changes: Iterable[TableChange], accepted: Collection[str]) -> tuple[Finding, ...]:
    """Tables that lost rows and were not accepted by name."""
    return tuple(
        Finding(
            f"the migration loses rows of {table.name}",
            f"{table.before} → {table.after or 0}",
            "Save what is needed of them by other means; to go on without them: "
            f"--accept-loss {table.name}.",
        )
        for table in changes
        if table.lost and table.name not in accepted
    )


def needless(changes: Iterable[TableChange], accepted: Collection[str]) -> tuple[str, ...]:
    """What was accepted and did not come to pass: a name mistyped, or a loss that is gone."""
    lost = {table.name for table in changes if table.lost}
    return tuple(
        f"{name} was accepted to lose rows and loses none" for name in sorted({*accepted} - lost)
    )


def unanswered(rows: Mapping[str, int], pools: Mapping[str, int]) -> tuple[str, ...]:
    """Pools of which the next ``oned`` answers another number of objects than there are rows."""
    return tuple(
        f"{name} holds {rows[name]} rows, and the next oned answers {count} objects"
        for name, count in sorted(pools.items())
        if rows.get(name) != count
    )


def changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """What happened to files, a line each; digests in, names out."""
    lines = [f"{name}: removed" for name in before.keys() - after.keys()]
    lines += [f"{name}: new" for name in after.keys() - before.keys()]
    lines += [f"{n}: changed" for n in before.keys() & after.keys() if before[n] != after[n]]
    return tuple(sorted(lines))


@dataclass(frozen=True, slots=True)
class OutagePart:
    """A part of an outage of writes.

    :param source: where the number is from.
    """

    what: str
    seconds: float
    source: str


_MEASURED_HERE = "measured in this rehearsal"
_NOTE = "measured on a real zone of three, not here"

#: What a rehearsal cannot measure without touching production, longest of what was seen.
STOP_S = 0.7
LAST_RECORDS_S = 0.7
SERVER_LIST_S = 1.0
ELECTION_S = 1.0
#: What was left of the longer of two cuts, 2.7 s, besides its other parts (measured note).
RESUMED_S = 0.3


def plain_way(*, upgrade_s: float, start_s: float) -> tuple[OutagePart, ...]:
    """Forecast of the time without writes, the plain way.

    Freeze, last records, server list, ``onedb upgrade`` of all, start, one empty heartbeat.

    :param upgrade_s: seconds of ``onedb upgrade`` of the whole copy.
    :param start_s: seconds from the start of the next ``oned`` to its first answer.
    """
    return (
        OutagePart("SIGKILL and mask the old servers, virtual IP off", STOP_S, _NOTE),
        OutagePart("the last log records", LAST_RECORDS_S, _NOTE),
        OutagePart("the real server list", SERVER_LIST_S, _NOTE),
        OutagePart("onedb upgrade of the whole database", upgrade_s, _MEASURED_HERE),
        OutagePart("start of the next oned", start_s, _MEASURED_HERE),
        OutagePart("warm-up ended by one empty heartbeat, election", ELECTION_S, _NOTE),
    )


def ahead_way(*, records_s: float, batch_s: float, steered_s: float) -> tuple[OutagePart, ...]:
    """Forecast of the time without writes, with the held stand-by.

    Freeze, last records, last batch, server list and one empty heartbeat: none of them grows
    with the database.

    :param records_s: seconds of shipping a few records.
    :param batch_s: seconds of bringing changed rows through the migrator and putting them in
        place.
    :param steered_s: election timeout of the held ``oned``.
    """
    election_s = max(ELECTION_S, steered_s)
    return (
        OutagePart("SIGKILL and mask the old servers, virtual IP off", STOP_S, _NOTE),
        OutagePart("the last log records", records_s, _MEASURED_HERE),
        OutagePart("changed rows through the migrator and in place", batch_s, _MEASURED_HERE),
        OutagePart("the real server list, one empty heartbeat, election", election_s, _NOTE),
        OutagePart("virtual IP, first write", RESUMED_S, _NOTE),
    )


def doubts(proof: AheadProof) -> tuple[str, ...]:
    """Why a copy that was migrated ahead cannot be relied on, a sentence each."""
    if proof.equal:
        return ()
    return tuple(
        f"migrated ahead it differs from migrated whole: {table}" for table in proof.differing
    ) or ("migrated ahead it differs from migrated whole",)


@dataclass(frozen=True, slots=True)
class Prospects:
    """What a rehearsal found about both ways of cutting over.

    :param ahead_s: forecast of the outage with the held stand-by; ``None`` if there is none.
    :param plain_s: the same, the plain way.
    """

    proven: bool
    doubts: tuple[str, ...]
    ahead_s: float | None
    plain_s: float | None


def way_ahead(wish: CutWish, found: Prospects) -> tuple[CutWay | None, str]:
    """Which way a rollout will take, and why.

    :returns: ``None`` if what is wished for was not proved, or takes longer than is allowed.
    """
    because = "; ".join(found.doubts) or "no copy was migrated ahead"
    if wish.way == "stand-by" and not found.proven:
        return None, f"the held stand-by is asked for, and was not proved: {because}"
    way: CutWay = "stand-by" if found.proven and wish.way != "plain" else "plain"
    forecast_s = found.ahead_s if way == "stand-by" else found.plain_s
    if wish.max_outage_s is not None and (forecast_s or 0.0) > wish.max_outage_s:
        return None, (
            f"{_WAYS[way]} takes {forecast_s:.1f} s without writes, and rollout.max_outage_s is "
            f"{wish.max_outage_s:g}"
        )
    if way == "stand-by":
        because = "a copy migrated ahead ended up equal to one migrated whole"
    elif wish.way == "plain":
        because = "it is asked for"
    return way, f"{_WAYS[way]}, because {because}{_seconds(forecast_s)}"


_WAYS: dict[CutWay, str] = {"stand-by": "the held stand-by", "plain": "the plain way"}


def _seconds(forecast_s: float | None) -> str:
    return "" if forecast_s is None else f": {forecast_s:.1f} s without writes"


def _mebibytes(count: int) -> str:
    return f"{count / 1024 / 1024:.0f} MiB"
