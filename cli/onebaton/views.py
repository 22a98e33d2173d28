"""What a command shows: plain values between those who find out and those who print.

``dataclasses.asdict`` of each gives data that JSON can hold as it is. Times are seconds since
the epoch, in UTC; ``None`` is what was not seen.
"""

from dataclasses import dataclass
from typing import Literal

from onebaton.model import Image
from onebaton.reports import GapRow


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A server of the zone.

    :param state: of Raft: leader, follower, candidate, solo; ``None`` if it did not answer.
    :param lag: records behind the leader.
    :param health: a value of :class:`~onebaton.model.Health`.
    :param version: the OpenNebula version it answers with.
    :param schema: of its database.
    :param holds_vip: seen on its machine over ssh.
    :param node: name of the platform's node at its address; ``None`` for somebody else's.
    :param problem: why it is not healthy, in words.
    """

    id: int
    name: str
    endpoint: str
    state: str | None
    term: int | None
    log_index: int | None
    lag: int | None
    health: str
    version: str | None
    schema: str | None
    holds_vip: bool | None
    node: str | None
    generation: str | None
    image: str | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node of the platform.

    :param state: a value of :class:`~onebaton.model.NodeState`.
    :param server_id: of the server that runs on it; ``None`` if it is no member.
    :param role: what it is for in a cut-over, in words; empty if nothing.
    """

    name: str
    address: str
    state: str
    generation: str
    image: str
    server_id: int | None
    role: str = ""


@dataclass(frozen=True, slots=True)
class ImageRow(Image):
    """An image of the catalogue, and how it stands.

    :param channels: names of the channels that hold it.
    :param revoked: why it must not be used any more; ``None`` if it may.
    """

    channels: tuple[str, ...] = ()
    revoked: str | None = None


@dataclass(frozen=True, slots=True)
class ImageView:
    """One image, and where it is.

    :param present: the platform holds it.
    :param nodes: names of the nodes that run it.
    """

    image: ImageRow
    present: bool
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PruneView:
    """Images that go, or went, and those that stay.

    :param going: names, oldest first.
    :param staying: names with the reason.
    """

    going: tuple[str, ...]
    staying: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StatusView:
    """The zone and its nodes at one moment.

    :param vip: the virtual IP with its prefix.
    :param vip_holders: names of all machines seen holding it; exactly one is right.
    :param leader: name of the one server that leads.
    :param members: ordered by server id.
    :param nodes: ordered by name.
    :param problems: what is wrong with the zone as a whole, a sentence each.
    :param notes: what is under way, or kept, a sentence each.
    """

    zone_id: int
    zone_name: str
    enabled: bool
    vip: str
    vip_holders: tuple[str, ...]
    leader: str | None
    observed_at: float
    members: tuple[MemberRow, ...]
    nodes: tuple[NodeRow, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A step that is to come, with the quorum as it will be while it runs.

    :param number: from 1.
    :param step_id: the step's stable id.
    :param quorum: the arithmetic in words, for people.
    :param healthy: voters counted as healthy during the step, new ones assumed dead.
    :param voters: servers in the zone's list during the step.
    :param needed: votes that a quorum takes.
    """

    number: int
    step_id: str
    what: str
    why: str
    quorum: str
    healthy: int
    voters: int
    needed: int


@dataclass(frozen=True, slots=True)
class PlanView:
    """What a rollout would do now, and why.

    :param reason: why these steps and no others, in a sentence.
    :param from_version: what the zone runs; ``None`` if it could not be told.
    :param steps: empty if nothing is to be done.
    """

    title: str
    strategy: str
    reason: str
    from_version: str | None
    to_version: str
    steps: tuple[PlanRow, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiagnosisRow:
    """One result of one check.

    :param check: the check's stable id.
    :param verdict: ok, warning, blocker or unknown; unknown is not ok.
    :param blocks: no rollout before this is ok.
    :param why: the trap that is watched for, in one clause.
    :param way_out: empty if it is ok.
    """

    check: str
    verdict: Literal["ok", "warning", "blocker", "unknown"]
    blocks: bool
    what: str
    evidence: str
    why: str
    way_out: str


@dataclass(frozen=True, slots=True)
class DoctorView:
    """What the doctor found.

    :param blocked: something stands in the way of a rollout, or may do so.
    :param rows: in the order in which the questions were asked.
    """

    zone_name: str
    to_version: str
    observed_at: float
    blocked: bool
    rows: tuple[DiagnosisRow, ...]


@dataclass(frozen=True, slots=True)
class TableRow:
    """A table before and after the migration; ``None`` where there is no such table.

    :param change: left alone, changed, lost rows, new, gone.
    :param accepted: its loss was accepted by name.
    """

    name: str
    rows_before: int | None
    rows_after: int | None
    change: str
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class PartRow:
    """A part of something that takes time.

    :param source: how the number is known; empty where it was simply measured.
    """

    what: str
    seconds: float
    source: str = ""


@dataclass(frozen=True, slots=True)
class RehearsalView:
    """What a rehearsal of a schema change found.

    The fingerprint of what it is true for: ``image_digest``, both schemas, ``log_index``,
    ``began_at``.

    :param verdict: ``roll`` if the schema is the same, else ``cut-over``.
    :param log_index: last record of the zone's log in the copy.
    :param source: name of the machine the copy was seeded from.
    :param node: name of the machine it took place on.
    :param migrators: in the order they run.
    :param tables: by name.
    :param files: what changed in ``/var/lib/one/.one``, a line each.
    :param pools: objects that the next ``oned`` answered, by table.
    :param parts: what was done, and how long it took.
    :param database_bytes: room that the database takes on the node's disk.
    :param peak_rss_bytes: of the migrator.
    :param fsck_errors: found on the migrated copy; ``None`` if it did not say.
    :param forecast: of the time without writes, the plain way.
    :param ahead_proven: a copy migrated ahead, in batches, was equal to one migrated whole;
        ``None`` if it was not tried.
    :param doubts: why it was not equal, a sentence each.
    :param stamps: tables and columns left out of that comparison, each with the reason.
    :param brought_over: rows that went through batches in that comparison, by table.
    :param batch_s: seconds of the last of these batches.
    :param forecast_ahead: of the time without writes with the held stand-by.
    :param way: in which a rollout will cut over: ``stand-by`` or ``plain``; ``None`` if the one
        that is asked for was not proved, or the schema is the same.
    :param why_this_way: the same in a sentence, with the reason.
    :param clone: name of the clone that the whole rollout was carried out in; empty if it was
        not.
    :param measured_s: longest time without writes through the virtual IP in that rollout;
        ``None`` if nothing was measured.
    :param measured: gaps of that rollout.
    :param refusals: why a rollout must not go on, a sentence each.
    :param kept_as: file that holds this.
    """

    title: str
    verdict: str
    version: str
    image: str
    image_digest: str
    from_schema: str
    to_schema: str
    log_index: int
    began_at: float
    source: str
    node: str
    migrators: tuple[str, ...] = ()
    tables: tuple[TableRow, ...] = ()
    files: tuple[str, ...] = ()
    pools: tuple[tuple[str, int], ...] = ()
    parts: tuple[PartRow, ...] = ()
    database_bytes: int = 0
    peak_rss_bytes: int = 0
    fsck_errors: int | None = None
    forecast: tuple[PartRow, ...] = ()
    forecast_s: float | None = None
    ahead_proven: bool | None = None
    doubts: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    brought_over: tuple[tuple[str, int], ...] = ()
    batch_s: float | None = None
    forecast_ahead: tuple[PartRow, ...] = ()
    forecast_ahead_s: float | None = None
    way: Literal["stand-by", "plain"] | None = None
    why_this_way: str = ""
    clone: str = ""
    measured_s: float | None = None
    measured: tuple[GapRow, ...] = ()
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    kept_as: str = ""


@dataclass(frozen=True, slots=True)
class RollbackView:
    """What a rollback would do.

    :param version: of OpenNebula, of the old generation; ``None`` if it was not told.
    :param brings_back: names of the old servers.
    :param stops: names of the new machines.
    :param records: written to the new generation's log since the cut; ``None`` if not told.
    :param lost: what will be lost, a sentence each.
    """

    zone_name: str
    version: str | None
    brings_back: tuple[str, ...]
    stops: tuple[str, ...]
    records: int | None
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FinalView:
    """What finalizing would do.

    :param destroys: names of nodes.
    :param stay: old servers that are no nodes of the cluster, a sentence each.
    :param nothing: why there is nothing to do; empty if there is.
    """

    zone_name: str
    destroys: tuple[str, ...] = ()
    stay: tuple[str, ...] = ()
    nothing: str = ""


@dataclass(frozen=True, slots=True)
class AbortView:
    """What giving a rollout up would do.

    :param version: of OpenNebula, that it was to reach.
    :param retires: names of servers, in the order in which they leave the zone.
    :param destroys: names of nodes; none if there is nothing to give up.
    :param swaps: names of nodes that are made anew from the image they had before.
    """

    zone_name: str
    version: str
    retires: tuple[str, ...] = ()
    destroys: tuple[str, ...] = ()
    swaps: tuple[str, ...] = ()
