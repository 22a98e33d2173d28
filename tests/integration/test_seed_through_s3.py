"""Seeds through a bucket: real machines with MariaDB, and a service that they reach."""
# ruff: noqa: S608 - statements of the tests' own

import io
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from tests.contract import objectstore
from tests.contract.objectstore import BUCKET, SLOW_DOWN, App, Fault, ObjectStore, plainly
from tests.e2e.running import Arguments
from tests.fakes.reporter import ListReporter
from tests.integration.frontend_lab import ROOT, Lab, front_ends, wait_for

from onebaton.adapters import seedparts, tablesums
from onebaton.adapters.mariadb import NodeDatabase
from onebaton.adapters.s3seeds import S3Passage
from onebaton.adapters.seedparts import SeedInParts
from onebaton.config import S3Config
from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import Host

pytestmark = pytest.mark.integration

PLACE = f"s3://{BUCKET}/zones/lab"
PART_BYTES = 256 * 1024
#: Stands in each row, and in nothing that is sent.
MARK = "plain-text-of-the-database"
TABLES = f"""
CREATE DATABASE opennebula CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
USE opennebula;
CREATE TABLE logdb (log_index BIGINT UNSIGNED PRIMARY KEY, term INTEGER, sqlcmd MEDIUMTEXT,
  timestamp INTEGER, fed_index BIGINT UNSIGNED, applied BOOLEAN);
INSERT INTO logdb VALUES (18446744073709551615, 0, 'raft', 0, 0, 0), (7, 2, 'SELECT 1', 1, 0, 1);
CREATE TABLE document_pool (oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT);
INSERT INTO document_pool SELECT seq, '{MARK}', CONCAT('{MARK}', HEX(RANDOM_BYTES(1000)))
  FROM seq_1_to_1600;
"""


@dataclass
class Road:
    """Three machines, the first with a database, and a service."""

    lab: Lab
    objects: ObjectStore
    source: Host
    targets: list[Host]
    reporter: ListReporter = field(default_factory=ListReporter)

    def seed(self, *targets: Host, timeout_s: float = 60) -> None:
        config = S3Config(endpoint_url=self.objects.url, region="us-east-1")
        passage = S3Passage(PLACE, config)
        way = SeedInParts(self.lab.ssh, self.reporter, passage, part_bytes=PART_BYTES)
        way.seed("opennebula", self.source, targets or self.targets, timeout_s=timeout_s)

    def left(self) -> list[str]:
        listed = self.objects.client.list_objects_v2(Bucket=BUCKET)
        return [entry["Key"] for entry in listed.get("Contents", [])]

    def checksums(self, host: Host) -> dict[str, int | None]:
        return tablesums.of_one(NodeDatabase(self.lab.ssh, host, "opennebula"))[1]


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    folder = tmp_path_factory.mktemp("s3")
    with pytest.MonkeyPatch.context() as patch, front_ends(folder, 3) as lab:
        objectstore.give_keys(patch, folder)
        for host in lab.hosts:
            lab.frontends.wait_ready(host, timeout_s=60)
        source, *targets = lab.hosts
        NodeDatabase(lab.ssh, source, "opennebula").administer(
            TABLES, what="filling the database", timeout_s=60
        )
        gateway = lab.vip.address.rpartition(".")[0] + ".1"
        with objectstore.serving(host=gateway) as objects:
            yield Road(lab, objects, source, targets)


@pytest.fixture(autouse=True)
def _fair_weather(road: Road) -> None:
    road.objects.clear()
    road.reporter.warnings.clear()


def require_nothing_left(road: Road, *unseeded: Host) -> None:
    """Nothing in the bucket, no work folder and no half a database on any machine."""
    assert road.left() == []
    assert road.reporter.warnings == []
    for host in (road.source, *road.targets):
        wait_for(lambda host=host: not road.lab.sh(host, "ls -d /tmp/tmp.*", check=False), "order")
    for host in unseeded:
        assert road.lab.frontends.facts(host).database is None
        assert road.lab.sh(host, "ls /var/lib/onebaton/seed.json", check=False) == ""


def test_two_machines_are_seeded_without_keys_and_nobody_sees_what_passes(road, monkeypatch):
    sent: list[bytes] = []
    from_machines: list[str] = []
    made: list[str] = []

    def spy(app: App, environ: dict, start: Callable) -> Iterable[bytes]:
        if environ["REMOTE_ADDR"] in {host.address for host in (road.source, *road.targets)}:
            from_machines.append(environ["REQUEST_METHOD"])
            assert "HTTP_AUTHORIZATION" not in environ
            assert "X-Amz-Signature=" in environ["QUERY_STRING"]
            if environ["REQUEST_METHOD"] == "PUT":
                sent.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
                environ["wsgi.input"] = io.BytesIO(sent[-1])
        return app(environ, start)

    def hexadecimal(count: int) -> str:
        made.append(secrets.token_hex(count))
        return made[-1]

    road.objects.faults = objectstore.for_ever(spy)
    monkeypatch.setattr(seedparts, "token_hex", hexadecimal)
    with Arguments() as arguments:
        road.seed()
    assert len(sent) > 4
    assert from_machines.count("GET") == 2 * len(sent)
    assert {len(part) for part in sent[:-1]} == {PART_BYTES}
    whole = b"".join(sent)
    assert MARK.encode() not in whole
    # Not even packed: zstd's magic number.
    assert whole[:4] != b"\x28\xb5\x2f\xfd"
    for secret in (*made, "X-Amz-Signature", objectstore.SECRET_KEY):
        assert arguments.holding(secret) == []
    assert arguments.holding("--config")
    ours = road.checksums(road.source)
    assert ours["document_pool"]
    for host in road.targets:
        assert road.checksums(host) == ours
        assert '"last_applied": 7' in road.lab.sh(host, "cat /var/lib/onebaton/seed.json")
    assert any("taken" in text or "sent" in text for text in road.reporter.waits)
    require_nothing_left(road)


def on(method: str, part: int, fault: Fault) -> Fault:
    """The fault befalls one part alone."""

    def chosen(app: App, environ: dict, start: Callable) -> Iterable[bytes]:
        wanted = environ["PATH_INFO"].endswith(f"/{part:06d}")
        hit = wanted and environ["REQUEST_METHOD"] == method
        return (fault if hit else plainly)(app, environ, start)

    return chosen


def changes_a_byte(app: App, environ: dict, start: Callable) -> list[bytes]:
    content = b"".join(app(environ, start))
    return [content[:100], bytes([content[100] ^ 1]), content[101:]]


def test_a_part_that_was_tampered_with_is_refused(road):
    road.objects.faults = objectstore.for_ever(on("GET", 3, changes_a_byte))
    with pytest.raises(StepFailedError, match="could not be seeded") as raised:
        road.seed()
    for host in road.targets:
        assert any(
            line.startswith(host.name) and "SHA-256 differs" in line
            for line in raised.value.details
        )
    require_nothing_left(road, *road.targets)


def test_a_part_that_is_gone_and_a_link_that_is_refused_are_told(road):
    def refuses(_app: App, environ: dict, start: Callable) -> list[bytes]:
        start("403 Forbidden", [("Content-Length", "0")])
        return [b""]

    road.objects.faults = objectstore.for_ever(on("GET", 2, refuses))
    with pytest.raises(StepFailedError) as raised:
        road.seed(road.targets[0])
    told = "\n".join([*raised.value.details, raised.value.resolution or ""])
    assert "curl: (22) The requested URL returned error: 403" in told
    assert "s3:GetObject" in told
    assert "Signature" not in told
    require_nothing_left(road, road.targets[0])


def test_a_busy_service_is_asked_again(road):
    busy = iter([SLOW_DOWN, SLOW_DOWN])

    def at_first(app: App, environ: dict, start: Callable) -> Iterable[bytes]:
        return next(busy, plainly)(app, environ, start)

    road.objects.faults = objectstore.for_ever(on("PUT", 1, at_first))
    road.seed(road.targets[0])
    assert next(busy, None) is None
    assert road.checksums(road.targets[0]) == road.checksums(road.source)
    require_nothing_left(road)


@pytest.mark.parametrize("status", [0, 1])
def test_a_dump_that_breaks_off_is_not_accepted(road, status):
    # Before the real program in PATH: half a dump, with and without an error.
    program = "/usr/local/sbin/mariadb-dump"
    road.lab.sh(
        road.source,
        "printf '#!/bin/sh\\necho \"CREATE TABLE t (a INT);\"\\nexit %s\\n' "
        f"{status} > {program}; chmod 755 {program}",
    )
    try:
        with pytest.raises(StepFailedError, match="could not be seeded") as raised:
            road.seed(road.targets[0])
    finally:
        road.lab.sh(road.source, f"rm {program}")
    assert "the dump broke off" in raised.value.details[0]
    require_nothing_left(road, road.targets[0])


def test_a_machine_without_curl_is_refused_before_anything_is_touched(road):
    target = road.targets[0]
    road.lab.sh(target, "mv /usr/bin/curl /usr/bin/no-curl")
    try:
        with pytest.raises(RefusedError, match="programs that are not on every machine") as raised:
            road.seed()
    finally:
        road.lab.sh(target, "mv /usr/bin/no-curl /usr/bin/curl")
    assert raised.value.details == (f"{target.name}: curl",)
    assert road.objects.seen == []


#: A run of its own, to be killed.
RUN = """
import sys
from pathlib import Path
from tests.fakes.reporter import ListReporter
from onebaton.adapters.s3seeds import S3Passage
from onebaton.adapters.seedparts import SeedInParts
from onebaton.adapters.ssh import Ssh
from onebaton.config import S3Config, SshConfig
from onebaton.model import Host
folder, url, place, size, *machines = sys.argv[1:]
source, *targets = [Host(*machine.split("=")) for machine in machines]
ssh = Ssh(SshConfig(key=Path(folder) / "key"), known_hosts=Path(folder) / "known_hosts")
passage = S3Passage(place, S3Config(endpoint_url=url, region="us-east-1"))
SeedInParts(ssh, ListReporter(), passage, part_bytes=int(size)).seed(
    "opennebula", source, targets, timeout_s=60)
"""


def test_what_a_killed_run_left_is_gone_after_the_next(road):
    arrived, let_go = threading.Event(), threading.Event()

    def held(app: App, environ: dict, start: Callable) -> Iterable[bytes]:
        arrived.set()
        let_go.wait(20)
        return app(environ, start)

    road.objects.faults = objectstore.for_ever(on("PUT", 4, held))
    machines = [f"{host.name}={host.address}" for host in (road.source, *road.targets)]
    arguments = [str(road.lab.folder), road.objects.url, PLACE, str(PART_BYTES), *machines]
    run = subprocess.Popen([sys.executable, "-c", RUN, *arguments], cwd=ROOT)
    try:
        assert arrived.wait(30)
    finally:
        run.kill()
        run.wait(10)
    assert len(road.left()) >= 2
    # What was on its way arrives when nobody is there any more.
    let_go.set()
    road.objects.faults = iter(())
    road.seed()
    for host in road.targets:
        assert road.checksums(host) == road.checksums(road.source)
    require_nothing_left(road)
