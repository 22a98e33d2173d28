"""How a generation is replaced: strategy, deadlines, gates, probes."""

from typing import Literal

from pydantic import Field

from onebaton.config.section import Section
from onebaton.fields import Seconds


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

    strategy: Literal["surge", "one-by-one", "swap"] = Field(
        default="surge",
        description="surge: all new nodes at once; one-by-one: one surplus node at most; swap: "
        "each new node takes its predecessor's address, name and server id, with one healthy "
        "server less meanwhile.",
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
