"""The disk for MariaDB's data on AWS: real file systems on loop devices."""

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onebaton.adapters.parts import part

pytestmark = pytest.mark.integration

SCRIPT = part("packer", "platforms", "aws", "files") / "usr/local/lib/onebaton/data-disk"
TIMEOUT_S = 60


def left_alone(disk: str) -> str:
    return f"data-disk: {disk} is in use for something else, and left alone\n"


def run(*argv: str | Path, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


class Machine:
    """A machine's folders, and disks that are attached to it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "mysql"
        self.data.mkdir(mode=0o750)
        (self.data / "ibdata1").write_text("the package's")
        self._folder = folder
        self._loops: list[str] = []
        self.env = {
            "PATH": os.environ["PATH"],
            "ONEBATON_DATA": str(self.data),
            "ONEBATON_NOTES": str(folder / "notes"),
            "ONEBATON_RUN": str(folder),
        }

    def disk(self) -> str:
        """A blank disk."""
        file = self._folder / f"disk{len(self._loops)}"
        with file.open("wb") as out:
            out.truncate(8 << 20)
        self._loops.append(run("losetup", "--find", "--show", file))
        return self._loops[-1]

    def boot(self, *disks: str) -> tuple[int, str]:
        """What the unit does with these disks: exit status, and what it said."""
        done = subprocess.run(
            ["sh", SCRIPT, *disks],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def mounted(self) -> str:
        """What the data is on; empty if it is on the system's disk."""
        return run("findmnt", "--noheadings", "--output", "SOURCE", self.data, check=False)

    def shut_down(self) -> None:
        if self.mounted():
            run("umount", self.data)

    def remove_all(self) -> None:
        self.shut_down()
        for loop in self._loops:
            run("losetup", "--detach", loop, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    try:
        yield made
    finally:
        made.remove_all()


def test_a_blank_disk_is_formatted_once_and_takes_the_data(machine: Machine):
    disk = machine.disk()
    assert machine.boot(disk) == (0, f"formatting the blank disk {disk}\n")
    assert machine.mounted() == disk
    assert [path.name for path in machine.data.iterdir()] == ["ibdata1"]
    assert machine.data.stat().st_mode & 0o777 == 0o750
    (machine.data / "ibdata1").write_text("the zone's")
    # Its own second try, then a boot, then a boot with a blank disk beside it.
    assert machine.boot(disk) == (0, "")
    machine.shut_down()
    assert machine.boot(disk, machine.disk()) == (0, "")
    assert machine.mounted() == disk
    assert (machine.data / "ibdata1").read_text() == "the zone's"


def test_a_copy_that_broke_off_is_begun_again(machine: Machine):
    disk = machine.disk()
    run("mkfs.ext4", "-q", "-L", "onebaton-new", disk)
    assert machine.boot(disk)[0] == 0
    assert (machine.data / "ibdata1").read_text() == "the package's"


def labelled(disk: str) -> None:
    run("mkfs.ext4", "-q", "-L", "theirs", disk)


def unlabelled(disk: str) -> None:
    run("mkfs.ext4", "-q", disk)


def partitioned(disk: str) -> None:
    """One partition of type Linux, by the oldest kind of table."""
    with Path(disk).open("r+b") as out:
        out.seek(446)
        out.write(bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + struct.pack("<II", 2048, 8192))
        out.seek(510)
        out.write(b"\x55\xaa")


def raw(disk: str) -> None:
    """Somebody's data without any signature."""
    with Path(disk).open("r+b") as out:
        out.seek(4096)
        out.write(b"theirs")


@pytest.mark.parametrize("fill", [labelled, unlabelled, partitioned, raw])
def test_a_disk_that_holds_something_is_left_alone(machine: Machine, fill: Callable[[str], None]):
    disk = machine.disk()
    fill(disk)
    before = run("sha256sum", disk)
    assert machine.boot(disk) == (0, left_alone(disk))
    assert run("sha256sum", disk) == before
    assert machine.mounted() == ""


def test_a_disk_that_cannot_be_read_is_left_alone(machine: Machine):
    gone = machine.disk()
    run("losetup", "--detach", gone)
    assert machine.boot(gone) == (0, left_alone(gone))


def test_of_two_blank_disks_none_is_guessed(machine: Machine):
    status, said = machine.boot(machine.disk(), machine.disk())
    assert status == 1
    assert "which one is for the data?" in said
    assert machine.mounted() == ""


def test_data_that_was_on_a_disk_never_begins_anew(machine: Machine):
    disk = machine.disk()
    machine.boot(disk)
    machine.shut_down()
    assert machine.boot(machine.disk())[0] == 1
    other = machine.disk()
    raw(other)
    lost = "data-disk: the disk with MariaDB's data is not attached\n"
    assert machine.boot(other) == (1, left_alone(other) + lost)
    assert machine.boot(disk) == (0, "")
