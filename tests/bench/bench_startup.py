"""How long ``onebaton --help`` takes beside ``python -c pass``; fails above the limit.

Both are run in turn, so that a busy machine slows both; medians are compared.
"""

import argparse
import statistics
import subprocess
import sys
import time

LIMIT = 6.0
#: What the installed script runs.
ENTRY = "from onebaton.main import run; run()"
CASES = {
    "python -c pass": ["-c", "pass"],
    "onebaton --help": ["-c", ENTRY, "--help"],
    "onebaton status --help": ["-c", ENTRY, "status", "--help"],
}


def measure(rounds: int) -> dict[str, float]:
    """Median wall time of each case, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, words in CASES.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            times[name].append((time.perf_counter() - begin) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> int:
    """Print a line a case; status 1 if the help is too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    medians = measure(parser.parse_args().rounds)
    base = medians["python -c pass"]
    for name, median in medians.items():
        sys.stdout.write(f"{name:<24} {median:6.1f} ms  {median / base:4.1f} x\n")
    ratio = medians["onebaton --help"] / base
    sys.stdout.write(f"ratio of --help: {ratio:.2f}, limit {LIMIT:g}\n")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
