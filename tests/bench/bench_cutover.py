"""How long a zone is without writes while its schema changes: held stand-by and by hand.

For each number of virtual machines, in one run and one lab: the cut-over with the held stand-by,
taken back, then the procedure by hand on the same zone and onto the same machine. Both are seen
by the same clients through the virtual IP. Fails above the limits. With many machines it takes
long, as the migrator does.

    python -m tests.bench.bench_cutover --machines 0 10000 50000
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import by_hand
from tests.e2e.churn import Churn
from tests.e2e.conftest import remove_machines, wait_whole
from tests.e2e.lab import LEADER, ROOT, Lab, Members
from tests.e2e.running import wait_until
from tests.e2e.traffic import SERVICE_TYPE

OLD, NEXT = "6.10.5", "7.0.2"
#: The gap with the held stand-by, as a part of the one by hand.
MAX_RATIO = 0.15
#: What the gap with the held stand-by may grow by, from the fewest machines to the most.
MAX_GROWTH_S = 1.0
LOSS = ("--accept-loss", "document_pool")
#: For a rehearsal or a rollout, of which the migrator may take most.
LONG_S = 3 * 3600.0

#: ``history`` has a column called seq, as the sequence has.
FILL = """
SET SESSION unique_checks = 0;
INSERT INTO vm_pool (oid, name, body, uid, gid, state, lcm_state, owner_u, group_u, other_u,
                     short_body, body_json)
SELECT s.seq, CONCAT('vm-', s.seq),
  CONCAT('<VM><ID>', s.seq, '</ID><UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME>',
         '<GNAME>oneadmin</GNAME><NAME>vm-', s.seq, '</NAME><STATE>3</STATE>',
         '<LCM_STATE>3</LCM_STATE><RESCHED>0</RESCHED><TEMPLATE></TEMPLATE><USER_TEMPLATE><FILL>',
         REPEAT('x', {size}), '</FILL></USER_TEMPLATE></VM>'),
  0, 0, 3, 3, 1, 0, 0, CONCAT('<VM><ID>', s.seq, '</ID></VM>'), JSON_OBJECT('ID', s.seq)
FROM seq_0_to_{last} AS s;
INSERT INTO history (vid, seq, body, stime, etime)
SELECT s.seq, 0,
  CONCAT('<HISTORY><OID>', s.seq, '</OID><SEQ>0</SEQ><HOSTNAME>metal</HOSTNAME><HID>0</HID>',
         '<STIME>1</STIME><ETIME>0</ETIME><ACTION>0</ACTION></HISTORY>'), 1, 0
FROM seq_0_to_{last} AS s;
REPLACE INTO pool_control (tablename, last_oid) VALUES ('vm_pool', {last});
"""


@dataclass(frozen=True)
class Gaps:
    """What clients saw with so many machines.

    :param held_s: longest time without a write through the virtual IP, held stand-by.
    :param by_hand_s: the same by hand.
    """

    machines: int
    held_s: float
    by_hand_s: float

    @property
    def ratio(self) -> float:
        """The one as a part of the other."""
        return self.held_s / self.by_hand_s


def say(text: str) -> None:
    """A line of the bench's own between those of the command."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  === {text}\n")
    sys.stdout.flush()


@contextmanager
def zone(lab: Lab, machines: int, body_bytes: int) -> Iterator[None]:
    """A zone of three with so many virtual machines, of one history record each."""
    lab.onebaton("destroy", "--yes", timeout_s=300)
    for left in ("journal", "rehearsals", "reports", "plans"):
        shutil.rmtree(lab.folder / "state" / left, ignore_errors=True)
    lab.onebaton("bootstrap", "--version", OLD)
    try:
        wait_whole(lab)
        if machines:
            say(f"filling the database with {machines} machines")
            # Beneath the servers, the same on each: as if it had come through the log long ago.
            statement = FILL.format(size=body_bytes, last=machines - 1)
            for address in lab.addresses("a"):
                subprocess.run(
                    by_hand.ssh(lab, address, "mariadb opennebula"),
                    input=statement,
                    text=True,
                    check=True,
                    timeout=by_hand.LONG_S,
                )
        yield
    finally:
        remove_machines(lab)


def gap_during(lab: Lab, work: Callable[[], None]) -> float:
    """Longest time without an acknowledged write through the virtual IP meanwhile.

    Objects of every pool are changed all the time, virtual machines too.
    """
    traffic = lab.traffic(
        document_type=SERVICE_TYPE, vip_writes_hz=15.0, member_writes_hz=2.0, reads_hz=2.0
    )
    churn = Churn(lab.session, lab.vip, Members(lab).endpoints, hz=2.5)
    churn.start()
    traffic.start()
    try:
        time.sleep(5)
        work()
        time.sleep(3)
    finally:
        traffic.stop()
        churn.stop()
    return traffic.writes["vip"].longest_gap()[0]


def held_stand_by(lab: Lab) -> float:
    """Rehearse, cut over, take it back."""
    lab.onebaton("rehearse", *LOSS, timeout_s=LONG_S)

    def roll_out() -> None:
        lab.onebaton("rollout", *LOSS, "--cut", "stand-by", timeout_s=LONG_S)

    gap = gap_during(lab, roll_out)
    lab.onebaton("rollback", "--yes", timeout_s=600)
    return gap


def hand_made(lab: Lab) -> float:
    """The procedure by hand, onto the machine that just led the new zone."""
    node = lab.addresses("b")[0]
    said = wait_until(
        "the old generation to be whole",
        lambda: everybody(lab),
        timeout_s=120,
        interval_s=0.5,
    )
    leader = next(address for address, raft in said.items() if raft["STATE"] == LEADER)
    followers = {raft["SERVER_ID"]: a for a, raft in said.items() if a != leader}
    by_hand.prepare(lab, leader, node, said[leader]["SERVER_ID"])
    return gap_during(lab, lambda: by_hand.change_the_schema(lab, leader, followers, node))


def everybody(lab: Lab) -> dict[str, dict[str, int]] | None:
    """What the old servers say of themselves; ``None`` unless all follow one of them."""
    said = {address: lab.raft(address) for address in lab.addresses("a")}
    found = {address: raft for address, raft in said.items() if raft is not None}
    leaders = [raft for raft in found.values() if raft["STATE"] == LEADER]
    return found if len(found) == lab.size and len(leaders) == 1 else None


def measure(lab: Lab, machines: int, body_bytes: int) -> Gaps:
    """Both ways, one after the other."""
    with zone(lab, machines, body_bytes):
        say(f"{machines} machines: the held stand-by")
        held_s = held_stand_by(lab)
        say(f"{machines} machines: {held_s:.2f} s with the held stand-by; now by hand")
        by_hand_s = hand_made(lab)
        say(f"{machines} machines: {by_hand_s:.2f} s by hand")
    return Gaps(machines, held_s, by_hand_s)


def judge(found: list[Gaps]) -> list[str]:
    """What is out of bounds."""
    problems = [
        f"{one.machines} machines: ratio {one.ratio:.3f}, allowed {MAX_RATIO:g}"
        for one in found
        if one.ratio > MAX_RATIO
    ]
    grown = found[-1].held_s - found[0].held_s
    if grown > MAX_GROWTH_S:
        problems.append(f"the held stand-by's gap grew by {grown:.2f} s, allowed {MAX_GROWTH_S:g}")
    return problems


def main() -> int:
    """Print a line a size; status 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, nargs="+", default=[0, 10_000, 50_000])
    parser.add_argument("--body-bytes", type=int, default=2000, help="Size of a machine's body.")
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache" / "bench")
    options = parser.parse_args()
    lab = Lab(options.folder, "bench", "10.201.14")
    # As shipped: starting, stopping and the warm-up take as long as the real ones.
    lab.prepare(version=NEXT)
    for version in (OLD, NEXT):
        lab.onebaton("bake", "--version", version)
    found = [measure(lab, machines, options.body_bytes) for machines in sorted(options.machines)]
    sys.stdout.write("\nmachines   held stand-by   by hand   ratio\n")
    for one in found:
        sys.stdout.write(
            f"{one.machines:>8}   {one.held_s:>11.2f} s   {one.by_hand_s:>5.1f} s   "
            f"{one.ratio:.3f}\n"
        )
    sys.stdout.write(
        f"growth     {found[-1].held_s - found[0].held_s:>11.2f} s   "
        f"{found[-1].by_hand_s - found[0].by_hand_s:>5.1f} s\n"
    )
    problems = judge(found)
    for problem in problems:
        sys.stdout.write(f"FAILED: {problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
