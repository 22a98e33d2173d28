"""One stream, read once, to several programs at the same time."""

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from onebaton.adapters.process import Pipe

CHUNK_BYTES = 256 * 1024
#: Chunks that wait for one target at most: 16 MiB.
QUEUED_CHUNKS = 64
#: A target that takes nothing for this long is given up, so that the others go on.
STALL_S = 60.0
#: How often progress is told, in seconds.
TELL_S = 0.5


@dataclass(slots=True)
class Target:
    """One receiver.

    :ivar problem: why it was given up, ``None`` while it keeps up.
    """

    name: str
    pipe: Pipe
    problem: str | None = None
    chunks: "queue.Queue[bytes | None]" = field(
        default_factory=lambda: queue.Queue(maxsize=QUEUED_CHUNKS)
    )

    def write_all(self) -> None:
        """Hand on what is queued, until the end of the stream."""
        try:
            while (chunk := self.chunks.get()) is not None:
                self.pipe.stdin.write(chunk)
            self.pipe.stdin.close()
        except (OSError, ValueError):
            # Its program ended, or was ended; what it said is told when it is waited for.
            self.problem = self.problem or "ended before all was sent"


def copy_to_all(
    source: Pipe,
    targets: Sequence[Target],
    *,
    progress: Callable[[int], None],
    stall_s: float = STALL_S,
) -> int:
    """Copy a program's output into all targets; slow ones are waited for, to a limit.

    Ends early when no target is left. Targets that were given up have a ``problem``.

    :param progress: told the bytes read so far, now and then.
    :returns: bytes read.
    """
    writers = [
        threading.Thread(target=target.write_all, daemon=True, name=f"to {target.name}")
        for target in targets
    ]
    for writer in writers:
        writer.start()
    total = 0
    told = 0.0
    while any(target.problem is None for target in targets):
        # What is there, instead of waiting for a whole chunk.
        chunk = os.read(source.stdout.fileno(), CHUNK_BYTES)
        if not chunk:
            break
        total += len(chunk)
        for target in targets:
            _offer(target, chunk, stall_s)
        if time.monotonic() - told > TELL_S:
            told = time.monotonic()
            progress(total)
    for target in targets:
        _offer(target, None, stall_s)
    for writer, target in zip(writers, targets, strict=True):
        writer.join(stall_s)
        if writer.is_alive():
            target.problem = target.problem or f"took nothing for {stall_s:g} s"
    progress(total)
    return total


def _offer(target: Target, chunk: bytes | None, stall_s: float) -> None:
    deadline = time.monotonic() + stall_s
    while target.problem is None:
        try:
            # In short turns: the target may be found to have ended meanwhile.
            target.chunks.put(chunk, timeout=0.2)
        except queue.Full:
            if time.monotonic() > deadline:
                target.problem = f"took nothing for {stall_s:g} s"
        else:
            return
