"""Baking with real Packer and podman; a first run takes a base from Debian's mirror."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from threading import Thread

import pytest
from tests.fakes.reporter import ListReporter

from onebaton import config
from onebaton.adapters.image_builder import PackerBuilder
from onebaton.adapters.packages import read_index
from onebaton.adapters.podman import Podman
from onebaton.adapters.podman_build import PodmanBuild
from onebaton.adapters.podman_platform import PodmanPlatform
from onebaton.adapters.store import FolderStore
from onebaton.bake.catalogue import Catalogue
from onebaton.bake.oven import Oven
from onebaton.bake.trial import TrialFailedError
from onebaton.errors import ConfigError, StepFailedError, UnavailableError
from onebaton.model import Image, Schema
from onebaton.wiring.cluster import SystemClock

pytestmark = pytest.mark.integration

VERSION = "6.10.0"
QUICK_S = 60.0
STANDIN = Path(__file__).parents[1] / "standin" / "build.py"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package repository named by ONEBATON_REPO, else one of stand-in packages."""
    named = os.environ.get("ONEBATON_REPO")
    if named:
        return Path(named)
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run([sys.executable, STANDIN, folder], check=True, timeout=300)
    return folder


class Bakery:
    """An oven of a test's own, with real parts."""

    def __init__(self, state: Path, repository: Path) -> None:
        self.reporter = ListReporter()
        self.podman = Podman(state / "podman")
        self.state = state
        self.catalogue = Catalogue(FolderStore(state))
        self._repository = repository
        subnet = IPv4Network("10.213.250.0/24")
        self.cluster = f"bake{os.getpid()}"
        self._platform = PodmanPlatform(
            cluster=self.cluster,
            network=config.NetworkConfig(
                subnet=subnet,
                generations={
                    "a": (IPv4Address("10.213.250.11"),),
                    "b": (IPv4Address("10.213.250.21"),),
                },
            ),
            settings=config.PodmanPlatform(),
            state=state,
            authorized_key="",
            podman=self.podman,
            reporter=self.reporter,
            clock=SystemClock(),
        )
        # A cluster of this machine may have baked the same recipe long ago.
        self._before = self.images()

    def builder(self, version: str = VERSION, scripts: tuple[Path, ...] = ()) -> PackerBuilder:
        image = config.ImageConfig(
            version=version,
            repository=config.RepositoryConfig(url=str(self._repository)),
            scripts=scripts,
        )
        folder = self.state / "bake"
        build = PodmanBuild(image.base, self.podman, folder, self.reporter)
        return PackerBuilder(image, build, folder, self.reporter, SystemClock())

    def oven(self, *scripts: Path) -> Oven:
        return Oven(self.builder(scripts=scripts), self._platform, self.catalogue, self.reporter)

    def ask(self, *args: str) -> str:
        return self.podman.run(args, timeout_s=QUICK_S).stdout.strip()

    def images(self) -> set[str]:
        """Names of all images baked, in this catalogue or not."""
        names = self.ask("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        return {name for name in names if name.startswith("localhost/onebaton/opennebula:")}

    def left_of(self, *scripts: Path) -> set[str]:
        """Names of what the bake of a recipe left; others bake meanwhile, of other recipes."""
        short = self.builder(scripts=scripts).recipe().digest.removeprefix("sha256:")[:12]
        names = {*self.images(), *self.ask("ps", "--all", "--format", "{{.Names}}").splitlines()}
        trial = f"label=onebaton.trial={self.cluster}"
        trials = self.ask("ps", "--all", "--filter", trial, "--format", "{{.Names}}").splitlines()
        return {*(name for name in names - self._before if short in name), *trials}


@pytest.fixture(scope="module")
def bakery(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Bakery]:
    bakery = Bakery(tmp_path_factory.mktemp("state"), repository)
    yield bakery
    for image in bakery.catalogue.list():
        bakery.builder().discard(image)


@pytest.fixture(scope="module")
def baked(bakery: Bakery) -> Image:
    """An image, baked once for all tests of this module."""
    result = bakery.oven().bake()
    assert result.fresh
    return result.image


def test_what_was_baked_is_told(bakery: Bakery, baked: Image):
    assert bakery.catalogue.list() == (baked,)
    assert baked.version == VERSION
    assert baked.schema == Schema("6.10.0", "6.10.0")
    assert (
        baked.digest == f"sha256:{bakery.ask('image', 'inspect', '--format={{.Id}}', baked.name)}"
    )
    labels = bakery.ask("image", "inspect", "--format={{json .Labels}}", baked.name)
    assert f'"onebaton.version":"{VERSION}"' in labels
    assert f'"onebaton.recipe":"{baked.recipe_digest}"' in labels
    assert bakery.left_of() == {baked.name}
    assert "cleaning" in bakery.reporter.notes


def test_an_image_holds_nothing_of_one_machine(bakery: Bakery, baked: Image):
    look = (
        "cat /etc/machine-id; find /var/lib/one/.one /var/lib/one/.ssh /root/.ssh -mindepth 1;"
        "find /etc/ssh -name 'ssh_host_*'; find / -xdev -name '*_auth' -not -path '/usr/*'"
        " -not -path '/proc/*'; ls -d /opt/onebaton-bake /etc/apt/sources.list.d/onebaton*"
        " /etc/apt/preferences.d/* /usr/sbin/policy-rc.d /var/lib/apt/lists/*; true"
    )
    seen = bakery.podman.run(
        ["run", "--rm", "--network=none", "--entrypoint=/bin/sh", baked.name, "-c", look],
        timeout_s=QUICK_S,
    )
    assert seen.stdout == ""


def test_a_node_takes_its_name_and_keys_at_its_first_boot_only(
    bakery: Bakery, baked: Image, tmp_path: Path
):
    (tmp_path / "first-boot.env").write_text("NODE_NAME=fe-a1\n")
    (tmp_path / "authorized_keys").write_text("ssh-ed25519 AAAA first\n")
    name = f"onebaton-bake-test-{os.getpid()}"
    run = ["run", "--detach", "--rm", "--name", name, "--hostname=fe-a1", "--network=none"]
    settled = "systemctl is-system-running --wait; "
    keys = "stat -c %a /root/.ssh/authorized_keys; cat /root/.ssh/authorized_keys; "
    try:
        bakery.ask(*run, "--systemd=always", f"--volume={tmp_path}:/etc/onebaton", baked.name)
        host_keys = "sha256sum /etc/ssh/ssh_host_*_key"
        shown = _until_booted(bakery, name, f"{settled}{keys}{host_keys}")
        assert shown[:3] == ["running", "600", "ssh-ed25519 AAAA first"]
        (tmp_path / "authorized_keys").write_text("ssh-ed25519 BBBB second\n")
        again = "systemctl restart onebaton-first-boot onebaton-host-keys; "
        assert _until_booted(bakery, name, f"{settled}{again}{keys}{host_keys}") == shown
        assert len({line.split()[0] for line in shown[3:]}) >= 2
    finally:
        bakery.podman.run(["rm", "--force", "--ignore", "--time=0", name], timeout_s=QUICK_S)


def _until_booted(bakery: Bakery, name: str, script: str) -> list[str]:
    deadline = time.monotonic() + QUICK_S
    while True:
        done = bakery.podman.run(
            ["exec", name, "/bin/sh", "-c", script], timeout_s=QUICK_S, check=False
        )
        # Before systemd listens, `systemctl` says so and nothing else.
        if done.stdout.startswith(("running", "degraded")) or time.monotonic() > deadline:
            return done.stdout.splitlines()
        time.sleep(0.2)


def test_the_same_recipe_is_not_baked_twice_unless_forced(bakery: Bakery, baked: Image):
    started = time.monotonic()
    again = bakery.oven().bake()
    assert (again.image, again.fresh) == (baked, False)
    assert time.monotonic() - started < 5
    forced = bakery.oven().bake(force=True)
    assert forced.fresh
    assert forced.image.recipe_digest == baked.recipe_digest
    assert {forced.image.name, baked.name} <= bakery.images()
    assert bakery.catalogue.latest(VERSION) == forced.image


def test_a_script_that_fails_is_shown_with_its_last_words(bakery: Bakery, tmp_path: Path):
    script = tmp_path / "mine.sh"
    script.write_text("echo doing something\necho 'the disk is on fire' >&2\nexit 3\n")
    with pytest.raises(StepFailedError) as raised:
        bakery.oven(script).bake()
    details = raised.value.details
    assert details[0].endswith("scripts/00-mine.sh")
    assert "doing something" in details
    assert "the disk is on fire" in details
    again = next(line.split()[2] for line in details if line.startswith("run: "))
    validate = subprocess.run(
        ["sh", again, "validate"], capture_output=True, timeout=QUICK_S, check=False
    )
    assert validate.returncode == 0, validate.stdout
    assert bakery.left_of(script) == set()


def test_a_planted_secret_is_found_before_the_image_is_closed(bakery: Bakery, tmp_path: Path):
    script = tmp_path / "plant.sh"
    script.write_text(
        "#!/bin/sh\necho me:topsecret >/etc/one/my_auth\n"
        "echo '-----BEGIN OPENSSH PRIVATE KEY-----' >/etc/one/transfer\n"
    )
    with pytest.raises(StepFailedError, match="must not be in an image") as raised:
        bakery.oven(script).bake()
    assert raised.value.details[:2] == (
        "/etc/one/my_auth looks like credentials",
        "/etc/one/transfer holds a private key",
    )
    assert "topsecret" not in str(raised.value.details)
    assert bakery.left_of(script) == set()


def test_what_shows_only_after_a_boot_is_found_by_the_trial(bakery: Bakery, tmp_path: Path):
    script = tmp_path / "late.sh"
    script.write_text(
        "#!/bin/sh\nset -e\n"
        "echo 'f /var/lib/one/.one/one_auth 0600 oneadmin oneadmin - oneadmin:topsecret'"
        " >/etc/tmpfiles.d/late.conf\n"
        "systemctl enable opennebula.service\n"
        "rm /etc/mysql/mariadb.conf.d/90-onebaton.cnf\n"
    )
    with pytest.raises(TrialFailedError) as raised:
        bakery.oven(script).bake()
    seen = "\n".join(raised.value.details)
    assert "opennebula.service is enabled, not disabled" in seen
    assert "REPEATABLE-READ, not READ-COMMITTED" in seen
    assert "/var/lib/one/.one/one_auth is in the image" in seen
    assert "topsecret" not in seen
    assert bakery.left_of(script) == set()


def test_a_recipe_changes_with_what_goes_in_and_with_nothing_else(
    bakery: Bakery, baked: Image, tmp_path: Path
):
    script = tmp_path / "a.sh"
    script.write_text("true\n")
    assert bakery.builder().recipe().digest == baked.recipe_digest
    with_script = bakery.builder(scripts=(script,)).recipe()
    assert with_script.digest != baked.recipe_digest
    script.write_text("false\n")
    assert bakery.builder(scripts=(script,)).recipe().digest != with_script.digest
    assert bakery.builder(version="6.10.5").recipe().digest != baked.recipe_digest


def test_all_missing_scripts_are_told_at_once(bakery: Bakery, tmp_path: Path):
    missing = (tmp_path / "a.sh", tmp_path / "b.sh")
    with pytest.raises(ConfigError) as raised:
        bakery.builder(scripts=missing).recipe()
    assert len(raised.value.details) == 2
    for path, line in zip(missing, raised.value.details, strict=True):
        assert str(path) in line


@pytest.mark.parametrize("program", ["packer", "mmdebstrap"])
def test_a_missing_program_is_named_with_its_package(
    bakery: Bakery,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
):
    monkeypatch.setattr("onebaton.adapters.base_image.REPOSITORY", "localhost/onebaton-none")
    programs = {"packer", "mmdebstrap", "podman", "runc", "crun", "conmon"} - {program}
    for folder in os.environ["PATH"].split(os.pathsep):
        for name in programs:
            link = tmp_path / name
            if not link.exists() and (Path(folder) / name).is_file():
                link.symlink_to(Path(folder) / name)
    _ = bakery.podman.env
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=program) as raised:
        bakery.builder().recipe()
    assert f"Debian package {program}" in (raised.value.resolution or "")


def test_another_program_named_packer_is_not_taken_for_it(
    bakery: Bakery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # A password checker of that name is part of another package.
    other = tmp_path / "packer"
    other.write_text("#!/bin/sh\necho 0 0\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UnavailableError, match="is not HashiCorp's Packer"):
        bakery.builder().recipe()


@pytest.fixture
def served(repository: Path) -> Iterator[str]:
    """The repository behind http."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(repository)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_an_index_is_read_over_http_as_from_the_folder(served: str, repository: Path):
    local = read_index(config.RepositoryConfig(url=str(repository)))
    assert read_index(config.RepositoryConfig(url=served)) == local
    with pytest.raises(ConfigError, match="holds no index"):
        read_index(config.RepositoryConfig(url=f"{served}/nowhere"))


def test_a_repository_that_does_not_answer_is_told_without_its_password():
    url = "http://me:topsecret@127.0.0.1:1/repo"
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1/repo") as raised:
        read_index(config.RepositoryConfig(url=url))
    assert "topsecret" not in f"{raised.value.message}{raised.value.details}"
