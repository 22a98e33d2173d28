"""Seeding in parts through a bucket, for nodes that only reach an object store.

The source packs, encrypts and cuts its dump; each part is an object of its own, sent by the
node's ``curl`` with a link that holds for this one object. The targets fetch a part as soon as
it is there, so that dumping and loading go on at the same time, and none of them holds more
than one part on its disk.

What keeps it safe: the key is made for this seed, goes to the nodes on the standard input of
ssh, and is forgotten. ``openssl enc`` does not prove what it decrypts, so that each part's
SHA-256 goes from the source to the targets through ssh, past the store, and is compared before
a byte of the part is used; the order and the number of parts are told by ssh too. Objects are
removed after each seed, whatever became of it, and those of killed runs before the next.
"""

import contextlib
import math
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from secrets import token_hex

from onebaton.adapters import seeding, seedscripts
from onebaton.adapters.passing import Passage
from onebaton.adapters.process import Pipe, ProgramError
from onebaton.adapters.seeding import CUT_SHORT, mebibytes
from onebaton.adapters.ssh import Ssh
from onebaton.errors import DeadlineError, OnebatonError, RefusedError
from onebaton.model import Host, Secret
from onebaton.ports import Reporter

PART_BYTES = 64 * 1024 * 1024
#: The source is left this long to end when nobody is left to take its parts: what is on its way
#: into the bucket would else arrive after the bucket was cleared.
LAST_PART_S = 15.0
#: How often the end of the loading is looked for, in seconds.
LOOK_S = 0.5
#: A link may hold for a week at most (AWS documentation of Signature Version 4).
LONGEST_LINK_S = 7 * 86400

_ANSWER = re.compile(
    rb"part (?P<number>\d+) (?P<size>\d+) (?P<sha256>[0-9a-f]{64})\n|sent (?P<sent>\d+)\n"
)
_WAY_OUT = (
    "Look at the disk, at MariaDB and at the way to the object store there (with `curl`, whose "
    "certificates are the machine's own), then run the same command again. Where the store says "
    "403, these keys lack s3:PutObject or s3:GetObject; where it says 301, 307 or 400, name the "
    "bucket's region: s3.region in cluster.yaml."
)


@dataclass(frozen=True, slots=True)
class Part:
    """One object.

    :param size: in bytes, packed and encrypted.
    :param sha256: of these bytes, in hexadecimal digits.
    """

    number: int
    size: int
    sha256: str


@dataclass(slots=True)
class Shipment:
    """The parts that have arrived in the bucket; several threads read what one adds."""

    _parts: list[Part] = field(default_factory=list)
    _whole: bool | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, part: Part) -> None:
        """One more has arrived."""
        with self._changed:
            self._parts.append(part)
            self._changed.notify_all()

    def close(self, *, whole: bool) -> None:
        """No more come.

        :param whole: those that came are all.
        """
        with self._changed:
            self._whole = whole
            self._changed.notify_all()

    def parts(self) -> Iterator[Part]:
        """All parts in order, each as soon as it is there; ends when no more come."""
        number = 0
        while True:
            with self._changed:
                while len(self._parts) == number and self._whole is None:
                    self._changed.wait()
                if len(self._parts) == number:
                    return
                part = self._parts[number]
            number += 1
            yield part

    @property
    def whole(self) -> bool:
        """All parts came, and no more come."""
        with self._changed:
            return self._whole is True


@dataclass(slots=True)
class Taker:
    """One target.

    :ivar taken: bytes that it has fetched, compared and handed on.
    :ivar problem: why it was given up by us; what its script says of its end comes beside.
    """

    name: str
    pipe: Pipe
    taken: int = 0
    problem: str | None = None

    @property
    def over(self) -> bool:
        """Its script has ended."""
        return self.pipe.process.poll() is not None


@dataclass(frozen=True, slots=True)
class Errands:
    """The requests of one seed.

    :param run: names its objects.
    :param deadline: of the seed, on the monotonic clock: no link holds for longer.
    """

    passage: Passage
    run: str
    deadline: float

    def sending(self, part: Part) -> bytes:
        """For the source's curl."""
        return self.passage.sending(self._name(part), valid_s=self._valid_s()).for_curl()

    def fetching(self, part: Part) -> bytes:
        """For a target's curl."""
        return self.passage.fetching(self._name(part), valid_s=self._valid_s()).for_curl()

    def _name(self, part: Part) -> str:
        return f"{self.run}/{part.number:06d}"

    def _valid_s(self) -> int:
        left_s = math.ceil(self.deadline - time.monotonic())
        return min(max(left_s, 1), LONGEST_LINK_S)


class SeedInParts:
    """The dump through a bucket (implements :class:`onebaton.adapters.seeding.Seeding`).

    :param part_bytes: size of all parts but the last.
    """

    def __init__(
        self, ssh: Ssh, reporter: Reporter, passage: Passage, *, part_bytes: int = PART_BYTES
    ) -> None:
        self._ssh = ssh
        self._reporter = reporter
        self._passage = passage
        self._part_bytes = part_bytes

    def seed(
        self, database: str, source: Host, targets: Sequence[Host], *, timeout_s: float
    ) -> None:
        """See ``Seeding.seed``.

        :raises RefusedError: if a machine lacks a program; nothing was touched then.
        :raises UnavailableError: if the bucket cannot be used; nothing was touched then.
        """
        if not targets:
            return
        deadline = time.monotonic() + timeout_s
        looked = seeding.look(self._ssh, database, source, targets)
        _require_programs(looked)
        self._passage.clear()
        what = f"seeding {', '.join(host.name for host in targets)} from {source.name}"
        errands = Errands(self._passage, token_hex(8), deadline)
        try:
            with contextlib.ExitStack() as stack:
                dump = seedscripts.dump_script(database, looked.packer, self._part_bytes)
                load = seedscripts.load_script(database, looked, source.name)
                giver, *pipes = (
                    stack.enter_context(
                        self._ssh.pipe(host, script, stdin=True, timeout_s=timeout_s)
                    )
                    for host, script in [(source, dump), *((host, load) for host in targets)]
                )
                takers = [Taker(host.name, pipe) for host, pipe in zip(targets, pipes, strict=True)]
                total, problems, more = self._pass(giver, takers, errands, source.name, what)
        finally:
            self._clear_after()
        if problems and time.monotonic() > deadline:
            raise DeadlineError(
                f"{what} did not end within {timeout_s:g} s",
                details=[f"{mebibytes(total)} of the packed dump were sent", *more],
                resolution="Give rollout.timeouts.seed_s more seconds, then run it again.",
            )
        seeding.require_all_seeded(source.name, targets, problems, more, resolution=_WAY_OUT)

    def _clear_after(self) -> None:
        try:
            self._passage.clear()
        except OnebatonError as error:
            # The seed itself is over; and what is left can be read by nobody.
            self._reporter.warn(
                f"encrypted parts of a seed may be left in {self._passage.place}, where the next "
                f"seed removes them: {error.message}"
            )

    def _pass(
        self, giver: Pipe, takers: Sequence[Taker], errands: Errands, source: str, what: str
    ) -> tuple[int, dict[str, str], list[str]]:
        """Everything between the start and the end of all scripts.

        :returns: bytes that were sent, problems by target, and what the source's end says.
        """
        key = Secret(token_hex(32))
        for pipe in (giver, *(taker.pipe for taker in takers)):
            with contextlib.suppress(OSError):
                _say(pipe, f"{key.reveal()}\n".encode())
        shipment = Shipment()
        threads = [
            threading.Thread(
                target=_deliver,
                args=(taker, shipment, errands),
                daemon=True,
                name=f"to {taker.name}",
            )
            for taker in takers
        ]
        try:
            for thread in threads:
                thread.start()
            total = self._collect(giver, shipment, takers, errands, what)
            more = _end_of(giver, source)
            shipment.close(whole=not more)
            self._wait(threads, takers, total, errands.deadline, what)
        finally:
            shipment.close(whole=shipment.whole)
        problems = _problems(takers, errands.deadline)
        if more and not problems:
            problems = {taker.name: "" for taker in takers}
        return total, problems, more

    def _collect(
        self,
        giver: Pipe,
        shipment: Shipment,
        takers: Sequence[Taker],
        errands: Errands,
        what: str,
    ) -> int:
        """Let the source send its parts for as long as somebody takes them.

        :returns: bytes that were sent.
        """
        total = 0
        part = None
        for line in iter(giver.stdout.readline, b""):
            said = _ANSWER.fullmatch(line)
            if said is None or all(taker.over for taker in takers):
                break
            if said["number"] is not None:
                part = Part(int(said["number"]), int(said["size"]), said["sha256"].decode())
                with contextlib.suppress(OSError):
                    _say(giver, errands.sending(part))
            elif part is not None:
                shipment.add(part)
                total += part.size
                self._reporter.progress(f"{what}: {mebibytes(total)} sent")
        return total

    def _wait(
        self,
        threads: Sequence[threading.Thread],
        takers: Sequence[Taker],
        total: int,
        deadline: float,
        what: str,
    ) -> None:
        """Wait until every target has taken all parts, or has ended, or time is over."""
        while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
            for thread in threads:
                thread.join(LOOK_S / len(threads))
            taken = min((taker.taken for taker in takers if not taker.over), default=total)
            self._reporter.progress(f"{what}: {mebibytes(taken)} of {mebibytes(total)} taken")


def _deliver(taker: Taker, shipment: Shipment, errands: Errands) -> None:
    """Have one target fetch the parts, in a thread of its own."""
    try:
        for part in shipment.parts():
            head = f"{part.number} {part.size} {part.sha256}\n".encode()
            _say(taker.pipe, head + errands.fetching(part))
            if taker.pipe.stdout.readline() != f"taken {part.number}\n".encode():
                # It ended; why is told when it is waited for.
                return
            taker.taken += part.size
        if shipment.whole:
            _say(taker.pipe, b"end\n")
    except OnebatonError as error:
        taker.problem = error.message
    except (OSError, ValueError):
        # It ended, or was ended, before all was said.
        return
    finally:
        with contextlib.suppress(OSError):
            taker.pipe.stdin.close()


def _require_programs(looked: seeding.Looked) -> None:
    lacking = {
        name: [program for program in programs if program != "zstd"]
        for name, programs in looked.lacking.items()
    }
    details = [f"{name}: {', '.join(programs)}" for name, programs in lacking.items() if programs]
    if details:
        raise RefusedError(
            "a seed through S3 takes programs that are not on every machine",
            details=details,
            resolution="Install the packages of these names there, or say seed.via: ssh in "
            "cluster.yaml; images baked from now on have them.",
        )


def _end_of(giver: Pipe, name: str) -> list[str]:
    """What the source's end says, nothing if it sent all."""
    try:
        giver.finish(timeout_s=LAST_PART_S, what=f"dumping the database of {name}")
    except ProgramError as error:
        if error.completed.status == CUT_SHORT:
            # What it had asked us for did not come any more.
            return [f"{name}: nobody was left to take the dump"]
        return [f"{name}: {seeding.reason(error)}"]
    except DeadlineError:
        return [f"{name}: nobody was left to take the dump"]
    return []


def _problems(takers: Sequence[Taker], deadline: float) -> dict[str, str]:
    problems = {}
    for taker in takers:
        ended = seeding.ended(taker.name, taker.pipe, deadline)
        if taker.problem is not None or ended is not None:
            problems[taker.name] = taker.problem or ended or ""
    return problems


def _say(pipe: Pipe, text: bytes) -> None:
    pipe.stdin.write(text)
    pipe.stdin.flush()
