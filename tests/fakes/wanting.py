"""What is wanted of a zone, in tests of the planner."""

from dataclasses import replace
from typing import Literal

from onebaton.model import Image, Schema
from onebaton.plan.wanted import CutWish, Limits, Rehearsed, Strategy, Wanted

Way = Literal["auto", "stand-by", "plain"]
SCHEMA = Schema("6.10.0", "6.10.0")
NEXT_SCHEMA = Schema("7.0.0", "7.0.0")
NORMAL_MS = 5000
STEERED_MS = 1000
SLOTS = {
    "a": tuple(f"10.0.0.{10 + i}" for i in range(1, 10)),
    "b": tuple(f"10.0.0.{20 + i}" for i in range(1, 10)),
}
ELSEWHERE = tuple(f"10.0.1.{i}" for i in range(1, 10))


def image(version: str = "6.10.5", *, schema: Schema = SCHEMA) -> Image:
    """A catalogue entry; its digest follows from its version."""
    return Image(
        name=f"onebaton/z:{version}",
        digest=f"sha256:{version}",
        version=version,
        schema=schema,
        platform="podman",
        base="mmdebstrap:bookworm",
        recipe_digest=f"sha256:recipe-{version}",
        built_at="2026-01-01T00:00:00Z",
        packer_version="1.6.6",
    )


def wanted(
    size: int = 3,
    strategy: Strategy = "surge",
    *,
    of: Image | None = None,
    max_lag_records: int = 50,
    log_window_share: float = 0.5,
    expected_seed_s: float = 60.0,
    election_timeout_ms: int = NORMAL_MS,
    steered_election_timeout_ms: int = STEERED_MS,
    cut: CutWish | None = None,
) -> Wanted:
    """A zone ``z`` of that size on 6.10.5."""
    limits = Limits(
        max_lag_records=max_lag_records,
        log_window_share=log_window_share,
        expected_seed_s=expected_seed_s,
        election_timeout_ms=election_timeout_ms,
        steered_election_timeout_ms=steered_election_timeout_ms,
    )
    return Wanted("z", size, strategy, of or image(), SLOTS, limits, cut=cut or CutWish())


def rehearsed(**changes: object) -> Rehearsed:
    """A rehearsal of 6.10.0 → 7.0.2 that proved the held stand-by and found no loss."""
    found = Rehearsed(
        kept_as="rehearsals/1.json",
        verdict="cut-over",
        image_digest="sha256:7.0.2",
        from_schema="6.10.0",
        to_schema="7.0.0",
        age_s=3 * 3600.0,
        migrators=("shared/6.10.0_to_7.0.0.rb", "local/6.10.0_to_7.0.0.rb"),
        ahead_proven=True,
        forecast_s={"stand-by": 2.6, "plain": 14.9},
    )
    return replace(found, **changes)


def next_release(
    size: int = 3, strategy: Strategy = "surge", *, way: Way = "auto", **changes: object
) -> Wanted:
    """The same zone on 7.0.2, which has another schema.

    :param changes: of the rehearsal.
    """
    cut = CutWish(way=way, rehearsal=rehearsed(**changes))
    return wanted(size, strategy, of=image("7.0.2", schema=NEXT_SCHEMA), cut=cut)
