"""``make demo``: the main job, from nothing to a rolled zone, with proof.

Bakes two releases, founds a zone of three, writes through it all the time, rolls it onto new
machines, and ends with status 0 only if nothing acknowledged was lost and the gaps were short.
"""

import sys
import time

from rich.console import Console
from rich.table import Table
from tests.e2e.lab import ROOT, Lab
from tests.e2e.traffic import Traffic

OLD, NEW = "6.10.0", "6.10.5"
#: The bounds that the demo is judged by, in seconds.
MAX_VIP_WRITE_GAP_S = 2.0
MAX_MEMBER_READ_GAP_S = 0.5
MIN_WRITES_HZ = 20.0

LAB = Lab(ROOT / ".cache" / "demo", "demo", "10.201.7")
console = Console()


def say(text: str) -> None:
    """A heading between the command's own output."""
    console.rule(text, align="left")


def gaps(traffic: Traffic, survivors: dict[str, float]) -> tuple[Table, list[str]]:
    """The clients' view: a table, and what is out of bounds.

    :param survivors: when each new member was last started (it is restarted once, long before
        the hand-over, if it has to learn of a later one), by endpoint, monotonic seconds.
    """
    table = Table("through", "kind", "good", "failed", "longest gap", title="The clients' view")
    found: list[str] = []
    for kind, lines in (("write", traffic.writes), ("read", traffic.reads)):
        for target, line in sorted(lines.items()):
            gap, begin, _ = line.longest_gap()
            failed = sum(line.failures.values())
            text = f"{gap:.2f} s at +{begin - traffic.began:.0f} s"
            bound = MAX_VIP_WRITE_GAP_S if (target, kind) == ("vip", "write") else None
            if kind == "read" and target in survivors:
                bound = MAX_MEMBER_READ_GAP_S
                gap, begin, _ = line.longest_gap(since=survivors[target])
                text += f"; {gap:.2f} s since its last start"
            table.add_row(target, kind, str(len(line.successes)), str(failed), text)
            if bound is not None and gap > bound:
                found.append(f"{kind} gap through {target}: {gap:.2f} s, allowed {bound:g} s")
    return table, found


def demo() -> int:
    """Run it; the exit status."""
    begin = time.monotonic()
    LAB.prepare(version=NEW)
    say("Removing what an earlier demo left")
    LAB.onebaton("destroy", "--yes", timeout_s=120)
    for version in (OLD, NEW):
        say(f"Baking {version}")
        LAB.onebaton("bake", "--version", version)
    say(f"Founding a zone of {LAB.size} servers on {OLD}")
    LAB.onebaton("bootstrap", "--version", OLD)
    traffic = LAB.traffic()
    traffic.start()
    try:
        time.sleep(3)
        say(f"Rolling to {NEW}, under writes")
        LAB.onebaton("plan", "--version", NEW, status=3)
        LAB.onebaton("rollout", "--version", NEW)
        time.sleep(3)
    finally:
        traffic.stop()
    LAB.onebaton("status")
    found = LAB.problems(traffic, generation="b", version=NEW)
    table, too_long = gaps(
        traffic, {LAB.endpoint(address): LAB.started_at(address) for address in LAB.addresses("b")}
    )
    console.print(table)
    found += too_long
    if traffic.rate() < MIN_WRITES_HZ:
        found.append(f"{traffic.rate():.1f} acknowledged writes a second, wanted {MIN_WRITES_HZ:g}")
    total = time.monotonic() - begin
    console.print(
        f"{len(traffic.acknowledged)} acknowledged writes, {traffic.rate():.1f} a second; "
        f"{total:.0f} s in all"
    )
    for problem in found:
        console.print(f"FAILED: {problem}", style="bold red")
    if not found:
        console.print(
            "Every acknowledged write is on every new node, checksums agree, one holder of the "
            "virtual IP, no old machine left.",
            style="bold green",
        )
        console.print("The zone still runs: 'make clean' removes it.")
    return 1 if found else 0


def main() -> int:
    """Run it, and be clear about ^C."""
    try:
        return demo()
    except KeyboardInterrupt:
        console.print("Interrupted. 'make demo' begins again, 'make clean' removes everything.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
