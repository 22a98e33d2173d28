"""Headless Chromium, driven over its own pipe: no network, no further library.

The protocol is Chrome DevTools': JSON objects that end in a zero byte, read by the browser from
its file descriptor 3 and written to 4 (``--remote-debugging-pipe``).
"""

import base64
import fcntl
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
    "--window-size=1280,1600",
)
#: For one answer, in seconds: a busy machine starts a browser slowly.
PATIENCE_S = 30.0


class Chromium:
    """One page in one browser.

    :ivar events: what the browser told of by itself, in order.
    """

    def __init__(self, to_it: int, from_it: int) -> None:
        self._to_it, self._from_it = to_it, from_it
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        answer = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = answer["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to_it, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, (method, told["error"])
                return told["result"]
            self.events.append(told)

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from_it], [], [], max(0, until - time.monotonic()))
            assert ready, f"the browser said nothing for {PATIENCE_S} s"
            chunk = os.read(self._from_it, 1 << 20)
            assert chunk, "the browser ended"
            self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def open(self, page: Path) -> None:
        """Show a file, and wait until it is there whole."""
        self.ask("Page.navigate", url=page.as_uri())
        until = time.monotonic() + PATIENCE_S
        while self.run("document.readyState") != "complete" or self.run("location.href") != (
            page.as_uri()
        ):
            assert time.monotonic() < until, "the page was not shown"
            time.sleep(0.05)

    def run(self, script: str) -> Any:  # noqa: ANN401 - as scripts have it
        """What a script evaluates to."""
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get(
            "value"
        )

    def prefer(self, scheme: str) -> None:
        """Light or dark."""
        self.ask(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def press(self, key: str, code: int) -> None:
        """A key, down and up."""
        for kind in ("rawKeyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def picture(self, file: Path) -> None:
        """The whole page as it looks now."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def requests(self) -> list[str]:
        """Addresses that were asked for, the page itself among them."""
        self.ask("Runtime.evaluate", expression="0")  # what came before it was told before it
        return [
            told["params"]["request"]["url"]
            for told in self.events
            if told.get("method") == "Network.requestWillBeSent"
        ]


@contextmanager
def chromium(folder: Path) -> Iterator[Chromium]:
    """A browser with a new, empty profile in a folder; it ends with the block."""
    to_it, from_us = os.pipe()
    to_us, from_it = os.pipe()

    def hand_over() -> None:
        # The browser knows these two by their numbers, and either may have the other's.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (to_it, from_it)]
        for number, end in zip((3, 4), ends, strict=True):
            os.dup2(end, number)

    process = subprocess.Popen(
        ["chromium", *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "chromium.log").open("wb"),
        close_fds=False,
        preexec_fn=hand_over,  # noqa: PLW1509 - no thread of ours runs when it is called
        start_new_session=True,
    )
    os.close(to_it)
    os.close(from_it)
    try:
        yield Chromium(from_us, to_us)
    finally:
        os.close(from_us)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        os.close(to_us)
