"""One stream into several real programs, some of which fail or dawdle."""

import gzip
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from onebaton.adapters import process, seeding
from onebaton.adapters.fanout import Target, copy_to_all
from onebaton.errors import DeadlineError

pytestmark = pytest.mark.integration

#: More than all buffers on the way hold together.
SIZE = 40 * 1024 * 1024
SOURCE = ["sh", "-c", f"head -c {SIZE} /dev/zero | tr '\\0' x"]


@contextmanager
def receivers(**scripts: str) -> Iterator[list[Target]]:
    with ExitStack() as stack:
        yield [
            Target(name, stack.enter_context(process.pipe(["sh", "-c", script], stdin=True)))
            for name, script in scripts.items()
        ]


def test_every_target_gets_every_byte(tmp_path: Path):
    told: list[int] = []
    with (
        receivers(one=f"cat > {tmp_path}/one", two=f"sleep 0.3; cat > {tmp_path}/two") as targets,
        process.pipe(SOURCE, stdin=False) as source,
    ):
        assert copy_to_all(source, targets, progress=told.append) == SIZE
        for target in targets:
            target.pipe.finish(timeout_s=10, what=target.name)
    assert [target.problem for target in targets] == [None, None]
    assert {(tmp_path / name).stat().st_size for name in ("one", "two")} == {SIZE}
    assert told[-1] == SIZE


def test_one_that_ends_early_and_one_that_takes_nothing_leave_the_third_alone(tmp_path: Path):
    with (
        receivers(
            ends="head -c 10 > /dev/null; exit 3",
            stalls="sleep 60",
            good=f"cat > {tmp_path}/good",
        ) as targets,
        process.pipe(SOURCE, stdin=False) as source,
    ):
        total = copy_to_all(source, targets, progress=lambda _: None, stall_s=0.5)
        targets[2].pipe.finish(timeout_s=10, what="good")
    assert total == SIZE
    assert targets[0].problem == "ended before all was sent"
    assert targets[1].problem == "took nothing for 0.5 s"
    assert targets[2].problem is None
    assert (tmp_path / "good").stat().st_size == SIZE


def test_nothing_is_read_for_nobody():
    with (
        receivers(ends="exit 1", ends_too="exit 1") as targets,
        process.pipe(["sh", "-c", "yes"], stdin=False) as source,
    ):
        copy_to_all(source, targets, progress=lambda _: None)
    assert all(target.problem for target in targets)


def test_whoever_is_told_may_end_it():
    def late(_: int) -> None:
        raise DeadlineError("too late")

    with (
        receivers(good="cat > /dev/null") as targets,
        process.pipe(["sh", "-c", "yes"], stdin=False) as source,
        pytest.raises(DeadlineError, match="too late"),
    ):
        copy_to_all(source, targets, progress=late)


def test_a_paced_dump_is_whole_and_takes_its_time(tmp_path: Path):
    """Four MiB at sixteen a second; the dump itself would come at once."""
    dumped = os.urandom((4 << 20) + 4711)
    (tmp_path / "dumped").write_bytes(dumped)
    program = tmp_path / "mariadb-dump"
    program.write_text(f"#!/bin/sh\nexec cat {tmp_path}/dumped\n")
    program.chmod(0o755)
    command = seeding.dump_command("opennebula", "gzip", pace_mib_s=16.0)
    begin = time.monotonic()
    packed = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        timeout=30,
    ).stdout
    assert gzip.decompress(packed) == dumped
    assert time.monotonic() - begin >= 0.24
