"""How an error looks on a screen: what happened, details, the way out. No library needed."""

from onebaton.errors import OnebatonError


def error_block(error: OnebatonError) -> str:
    """Lines for standard error::

    error: what happened
      - a detail
    → what to do next
    """
    lines = [f"error: {error.message}"]
    for detail in error.details:
        first, *further = detail.splitlines() or [""]
        lines.append(f"  - {first}")
        lines += [f"    {line}" for line in further]
    if error.resolution:
        lines.append(f"→ {error.resolution}")
    return "\n".join(lines) + "\n"
