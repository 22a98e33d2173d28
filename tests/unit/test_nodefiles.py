"""What a machine prints of its configuration files, and what never leaves it."""

import subprocess
from pathlib import Path

import pytest

from onebaton.adapters import nodefiles, onedconf
from onebaton.adapters.nodeconfig import ZoneSettings
from onebaton.adapters.templates import Templates
from onebaton.config import DatabaseConfig, OnedConfig
from onebaton.drift import Configured
from onebaton.errors import StepFailedError
from onebaton.model import Vip

ZONE = ZoneSettings(0, Vip("10.0.0.100", 24, "eth0"), 2633)
PACKAGED = """\
LOG = [
  SYSTEM = "FILE",   # where to
  DEBUG_LEVEL = 3
]
DB = [ BACKEND = "sqlite" ]
PORT = 2633
VM_MAD = [ NAME = "kvm" ]
VM_MAD = [ NAME = "lxc" ]
"""
MONITORD = 'NETWORK = [ ADDRESS = "0.0.0.0", MONITOR_ADDRESS = "10.0.0.100" ]\nTHREADS = 8\n'


@pytest.fixture
def machine(tmp_path):
    """Files as a bake and a configuration left them; answers what the script makes of them."""
    etc, remotes = tmp_path / "etc/one", tmp_path / "var/lib/one/remotes"
    (remotes / "hooks/raft").mkdir(parents=True)
    (remotes / "hooks/raft/vip.sh").write_text("#!/bin/sh\n")
    (etc / "cli").mkdir(parents=True)
    (etc / "cli/onevm.yaml").write_text(":ID:\n")
    (etc / "oned.conf.onebaton-dist").write_text(PACKAGED)
    managed = reader().rendered(server_id=1)
    (etc / "oned.conf").write_text(onedconf.merge(PACKAGED, managed))
    (etc / "monitord.conf").write_text(MONITORD)
    return Machine(tmp_path)


class Reader(nodefiles.SshConfigurations):
    """Renders without a machine."""

    def rendered(self, *, server_id: int) -> str:
        """With a password that must never be seen."""
        settings = self.settings(server_id=server_id)
        assert nodefiles.PASSWORD not in settings
        lines = {}
        for name, value in settings.items():
            statement, _, attribute = name.partition("/")
            lines.setdefault(statement, []).append((attribute, value))
        lines["DB"].append(("PASSWD", 's3"cret]'))
        return "\n".join(
            f"{name} = {onedconf.quote(pairs[0][1])}"
            if not pairs[0][0]
            else f"{name} = [ " + ", ".join(f"{k} = {onedconf.quote(v)}" for k, v in pairs) + " ]"
            for name, pairs in lines.items()
        )


def reader() -> Reader:
    return Reader(
        None,  # nothing is asked of a machine
        zone=ZONE,
        database=DatabaseConfig(),
        oned=OnedConfig(),
        render=Templates().render,
    )


class Machine:
    """A folder that stands for a machine's root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, path: str, text: str) -> None:
        (self._root / path).write_text(text)

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self._root / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))

    def read(self) -> Configured:
        script = nodefiles.SCRIPT
        for folder in nodefiles.FOLDERS:
            script = script.replace(folder, f"{self._root}{folder}")
        done = subprocess.run(
            ["bash", "--norc", "-euo", "pipefail", "-c", script],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert "s3" not in done.stdout
        assert done.stderr == ""
        return nodefiles.parse(done.stdout, place="n1")


def told(found: Configured) -> dict[str, str]:
    return dict(found.settings)


def test_what_was_written_is_what_would_be_written(machine):
    found = machine.read()
    wanted = reader().settings(server_id=1)
    assert {name: told(found).get(name) for name in wanted} == dict(wanted)
    assert wanted["FEDERATION/SERVER_ID"] == "1"
    assert wanted["RAFT/ELECTION_TIMEOUT_MS"] == "5000"
    assert wanted["RAFT_LEADER_HOOK/ARGUMENTS"] == "leader eth0 10.0.0.100/24"
    assert nodefiles.PASSWORD not in told(found)
    assert found.statements == found.packaged
    assert [name for name, _ in found.statements] == ["LOG", "VM_MAD"]
    assert found.monitor_address == "10.0.0.100"
    assert [path.removeprefix(str(machine._root)) for path, _ in found.files] == [
        "/etc/one/cli",
        "/etc/one/monitord.conf",
        "/var/lib/one/remotes/hooks",
    ]


@pytest.mark.parametrize(
    ("path", "old", "new", "where"),
    [
        ("etc/one/oned.conf", '"250000"', '"1000"', "settings"),
        ("etc/one/oned.conf", "DEBUG_LEVEL = 3", "DEBUG_LEVEL = 5", "statements"),
        ("etc/one/oned.conf", '"lxc"', '"qemu"', "statements"),
        ("etc/one/monitord.conf", '"10.0.0.100"', '"auto"', "monitor_address"),
        ("etc/one/monitord.conf", "THREADS = 8", "THREADS = 9", "files"),
        ("etc/one/cli/onevm.yaml", ":ID:", ":NAME:", "files"),
        ("var/lib/one/remotes/hooks/raft/vip.sh", "#!/bin/sh", "#!/bin/bash", "files"),
    ],
)
def test_a_change_is_seen_where_it_belongs(machine, path, old, new, where):
    before = machine.read()
    machine.edit(path, old, new)
    after = machine.read()
    changed = {
        name
        for name in ("settings", "statements", "packaged", "monitor_address", "files")
        if getattr(before, name) != getattr(after, name)
    }
    assert changed == {where}


@pytest.mark.parametrize(
    ("old", "new"),
    [("DEBUG_LEVEL = 3", "DEBUG_LEVEL  =  3 # loud"), ('s3\\"cret]', "s3-another")],
)
def test_comments_and_passwords_are_none(machine, old, new):
    before = machine.read()
    machine.edit("etc/one/oned.conf", old, new)
    assert machine.read() == before


def test_a_machine_without_an_opennebula(tmp_path):
    found = Machine(tmp_path).read()
    assert found == Configured((), (), (), None, ())


def test_the_last_statement_and_the_first_attribute_count():
    text = 'RAFT = [ A = 1 ]\nPORT = 1\nRAFT = [ A = 2, A = 3, B = "x" ]\n'
    assert onedconf.settings(text, file="f") == {"PORT": "1", "RAFT/A": "2", "RAFT/B": "x"}


@pytest.mark.parametrize("output", ["", "decided\t\t\nend\n", "decided\t\t?\nnetwork\t\t\nend\n"])
def test_an_answer_that_lacks_something_is_refused(output):
    with pytest.raises(StepFailedError, match="n1"):
        nodefiles.parse(output, place="n1")
