"""A runner's machine: its programs, its secrets, its ``onebaton``."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: A command that the pipelines run: what needs a zone is played, everything else is the real one.
PLAYED = """\
import json, os, pathlib, sys

REAL = {real!r}
FOLDER = pathlib.Path({folder!r})


def run():
    argv = sys.argv[1:]
    with (FOLDER / "calls").open("a") as calls:
        calls.write(json.dumps(argv) + "\\n")
    told = json.loads((FOLDER / "told.json").read_text())
    if argv[0] not in told:
        os.execv(REAL, [REAL, *argv])
    entry = told[argv[0]]
    for option, text in entry.get("writes", {{}}).items():
        if option in argv:
            pathlib.Path(argv[argv.index(option) + 1]).write_text(text)
    if "--plan" in argv:
        plan = pathlib.Path(argv[argv.index("--plan") + 1])
        (FOLDER / "carried-out").write_text(plan.read_text())
    for key, value in entry.get("changes", {{}}).items():
        told[key] = value
        (FOLDER / "told.json").write_text(json.dumps(told))
    print(entry.get("out", ""))
    sys.exit(entry.get("status", 0))
"""
METADATA = "Metadata-Version: 2.1\nName: onebaton-played\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY_POINTS = "[console_scripts]\nonebaton = onebaton_played:run\n"
#: Notes its arguments, then does what it should.
NOTING = """\
#!/bin/sh
printf '%s\\n' "$@" >> {noted}
exec {program} "$@"
"""


class Machine:
    """A folder with programs and secrets that pipelines run on.

    :ivar folder: nothing of it is in a checkout.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir(parents=True)
        (folder / "home").mkdir()
        for name in ("id_ed25519", "id_ed25519.pub", "oneadmin"):
            (folder / name).write_text("a secret of the runner\n")
        curl = shutil.which("curl")
        assert curl
        self._script("curl", NOTING.format(noted=folder / "curl-arguments", program=curl))
        self.play({})
        real = str(Path(sys.executable).parent / "onebaton")
        self.source = PLAYED.format(real=real, folder=str(folder))
        self._script("onebaton", f"#!{sys.executable}\n{self.source}\nrun()\n")

    def _script(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)

    def play(self, told: dict[str, dict], *, real: bool = False) -> None:
        """What commands that need a zone write, print, and end with.

        :param real: ``version`` and ``config check`` are the real ones; they take their time.
        """
        told = told if real else {"version": {}, "config": {}, **told}
        (self.folder / "told.json").write_text(json.dumps(told))
        (self.folder / "calls").write_text("")
        (self.folder / "carried-out").unlink(missing_ok=True)

    @property
    def calls(self) -> list[list[str]]:
        """Command lines of ``onebaton`` since it was told what to play."""
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    @property
    def carried_out(self) -> str | None:
        """The plan that a rollout was given."""
        path = self.folder / "carried-out"
        return path.read_text() if path.exists() else None

    @property
    def curl_arguments(self) -> str:
        """Everything that stood in an argument of curl."""
        return (self.folder / "curl-arguments").read_text()

    @contextmanager
    def without_onebaton(self) -> Iterator[None]:
        """The runner has none for a while."""
        program = self.programs / "onebaton"
        program.rename(self.folder / "onebaton-away")
        try:
            yield
        finally:
            (self.folder / "onebaton-away").rename(program)

    def wheel(self) -> Path:
        """The same command as a package that pip can install without a network."""
        name = "onebaton_played-1.0"
        files = {
            "onebaton_played.py": self.source,
            f"{name}.dist-info/METADATA": METADATA,
            f"{name}.dist-info/WHEEL": WHEEL,
            f"{name}.dist-info/entry_points.txt": ENTRY_POINTS,
        }
        lines = []
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
            lines.append(f"{path},sha256={digest.decode()},{len(text.encode())}")
        files[f"{name}.dist-info/RECORD"] = "\n".join([*lines, f"{name}.dist-info/RECORD,,", ""])
        made = self.folder / f"{name}-py3-none-any.whl"
        with zipfile.ZipFile(made, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        return made

    def environment(self, **given: str) -> dict[str, str]:
        """What a job starts with; nothing of this test's own but the way to the code."""
        own = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
        return {
            "PATH": f"{self.programs}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "CI": "true",
            "PIP_NO_INDEX": "1",
            "ONEBATON_POLL_S": "0",
            **own,
            **given,
        }


def git(folder: Path, *words: str) -> str:
    """Run git in a folder; its output."""
    identity = (
        "-c",
        "user.name=Op",
        "-c",
        "user.email=op@example.org",
        "-c",
        "commit.gpgsign=false",
    )
    done = subprocess.run(
        ["git", *identity, *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()
