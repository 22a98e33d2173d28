"""What ``onebaton plan`` costs: seconds besides Terraform's, and calls to each server of a zone.

Seconds are those of a real zone in the lab, of a plan that is written down; what runs of
Terraform take is measured by a program in its place and subtracted. Calls are counted where they
leave for ``oned``, in simulated zones of three to nine servers. Fails above the limits.

    python -m tests.bench.bench_plan --config cluster.yaml    # a zone that is there
"""

import argparse
import concurrent.futures
import contextlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.conftest import remove_machines, wait_whole
from tests.e2e.lab import ROOT, Lab
from tests.fakes.commands import commands
from tests.fakes.simulated_tool import AtOnce, running_zone
from tests.fakes.worlds import wanted

from onebaton import main as onebaton

OLD, NEW = "6.10.0", "6.10.5"
SIZES = (3, 5, 7, 9)
#: Seconds of a plan of a healthy zone, besides Terraform's.
MAX_S = 3.0
#: Calls for each server, of the largest zone against the smallest.
MAX_RATIO = 1.0
PENDING = 3
#: In Terraform's place: does what it does, and notes when.
TIMED = """\
#!/bin/sh
begin=$(date +%s.%N)
"{program}" "$@"
status=$?
printf '%s %s\\n' "$begin" "$(date +%s.%N)" >> "{notes}"
exit $status
"""


class Counting:
    """An API whose calls are counted, by method."""

    def __init__(self, api: object) -> None:
        self._api = api
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = getattr(self._api, name)

        def call(*arguments: object, **named: object) -> object:
            self.calls[name] += 1
            return method(*arguments, **named)

        return call


def calls_of(size: int) -> int:
    """Calls to the zone in one plan of a simulated zone."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        cluster = running_zone(wanted(size), leader=1)
        cluster.api = counting = Counting(cluster.api)
        made = commands(Path(folder) / "zone", cluster, patch, None, size=size)
        words = ["plan", "--config", str(made.config), "--out", str(made.plan)]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = onebaton.main(words)
        assert status == PENDING, said.getvalue()
        # The addresses of the free generation are asked at most once, whatever the zone's size.
        return counting.calls.total()


def seconds_of(config: Path, rounds: int) -> list[tuple[float, float]]:
    """Seconds of each plan, and those of Terraform in it."""
    program = shutil.which("terraform")
    assert program
    found = []
    with tempfile.TemporaryDirectory() as folder:
        notes, timed = Path(folder) / "notes", Path(folder) / "terraform"
        timed.write_text(TIMED.format(program=program, notes=notes))
        timed.chmod(0o755)
        words = [
            str(Path(sys.executable).parent / "onebaton"), "plan", "--config", str(config),
            "--out", f"{folder}/plan.json", "--markdown", f"{folder}/plan.md",
        ]  # fmt: skip
        for _ in range(rounds):
            notes.unlink(missing_ok=True)
            begin = time.monotonic()
            done = subprocess.run(
                words,
                env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            took = time.monotonic() - begin
            assert done.returncode == PENDING, done.stderr
            found.append((took, covered(notes.read_text())))
    return found


def covered(notes: str) -> float:
    """Seconds in which Terraform ran, however many of it."""
    spans = sorted(tuple(map(float, line.split())) for line in notes.splitlines())
    total, until = 0.0, 0.0
    for begin, end in spans:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


@contextmanager
def lab_zone() -> Iterator[Path]:
    """The configuration of a healthy zone of three, which is gone afterwards."""
    lab = Lab(ROOT / ".cache" / "bench-plan", "bpl", "10.201.15")
    lab.prepare(version=NEW)
    try:
        for version in (OLD, NEW):
            lab.onebaton("bake", "--version", version)
        lab.onebaton("destroy", "--yes")
        lab.onebaton("bootstrap", "--version", OLD)
        wait_whole(lab)
        yield lab.folder / "cluster.yaml"
    finally:
        remove_machines(lab)


def main() -> int:
    """Print seconds and ratios; status 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--config", type=Path, help="A zone that has something to be planned.")
    options = parser.parse_args()
    calls = {size: calls_of(size) for size in SIZES}
    each = {size: count / size for size, count in calls.items()}
    for size, count in calls.items():
        sys.stdout.write(
            f"{size} servers: {count:>3} calls, {each[size]:.1f} each, "
            f"{each[size] / each[SIZES[0]]:.2f} x\n"
        )
    ratio = each[SIZES[-1]] / each[SIZES[0]]
    with contextlib.nullcontext(options.config) if options.config else lab_zone() as config:
        rounds = seconds_of(config, options.rounds)
    for took, terraform in rounds:
        sys.stdout.write(f"plan: {took:.2f} s, of them Terraform {terraform:.2f} s\n")
    besides_s = statistics.median(took - terraform for took, terraform in rounds)
    sys.stdout.write(
        f"calls each, {SIZES[-1]} servers against {SIZES[0]}: {ratio:.2f}, limit {MAX_RATIO:g}; "
        f"besides Terraform {besides_s:.2f} s, limit {MAX_S:g} s\n"
    )
    return 0 if ratio <= MAX_RATIO and besides_s <= MAX_S else 1


if __name__ == "__main__":
    sys.exit(main())
