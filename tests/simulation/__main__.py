"""``python -m tests.simulation --seeds 0:20000``: plays schedules and prints those that fail.

``--seed N`` plays one, with its schedule and how the tool ended each time.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter

from tests.fakes.simulated_tool import AtOnce
from tests.simulation.playing import play
from tests.simulation.schedules import drawn

#: Seeds a worker takes at a time.
CHUNK = 100


def play_seeds(
    seeds: range,
) -> tuple[list[tuple[int, str]], Counter[str], Counter[str], Counter[str]]:
    """Play some; seeds that failed with why, how they ended, what runs ended with, what fell."""
    concurrent.futures.ThreadPoolExecutor = AtOnce
    failed, ends, refusals, fallen = [], Counter[str](), Counter[str](), Counter[str]()
    for seed in seeds:
        try:
            outcome = play(drawn(seed))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its seed
            failed.append((seed, f"{type(error).__name__}: {error}"))
        else:
            ends[outcome.end] += 1
            refusals += outcome.refusals
            fallen += outcome.fallen
    return failed, ends, refusals, fallen


def one(seed: int) -> int:
    concurrent.futures.ThreadPoolExecutor = AtOnce
    print(drawn(seed))
    try:
        outcome = play(drawn(seed), print)
    except Exception:  # noqa: BLE001 - told as it is
        traceback.print_exc()
        return 1
    print(outcome)
    return 0


def many(seeds: range, jobs: int, *, stop_after: int) -> int:
    begin = time.monotonic()
    chunks = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    failed: list[tuple[int, str]] = []
    ends, refusals, fallen, played = Counter[str](), Counter[str](), Counter[str](), 0
    with multiprocessing.Pool(jobs) as pool:
        for chunk, result in zip(chunks, pool.imap(play_seeds, chunks), strict=True):
            failed += result[0]
            ends += result[1]
            refusals += result[2]
            fallen += result[3]
            played += len(chunk)
            for seed, why in result[0]:
                print(f"seed {seed}: {why[:300]}", flush=True)
            if len(failed) >= stop_after:
                break
    seconds = time.monotonic() - begin
    print(f"{played} schedules in {seconds:.0f} s, {len(failed)} violations")
    print("in the end:", ", ".join(f"{end} {n}" for end, n in ends.most_common()))
    print("what fell:", ", ".join(f"{kind} {n}" for kind, n in fallen.most_common()))
    print("the tool ended with:")
    for words, count in refusals.most_common(25):
        print(f"  {count:6} {words[:150]}")
    for seed, _ in failed[:3]:
        print(drawn(seed))
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", default="0:20000", help="first:last+1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--stop-after", type=int, default=20)
    given = parser.parse_args()
    if given.seed is not None:
        return one(given.seed)
    first, last = map(int, given.seeds.split(":"))
    return many(range(first, last), given.jobs, stop_after=given.stop_after)


if __name__ == "__main__":
    sys.exit(main())
