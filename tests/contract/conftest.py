"""The zones that the recorded answers are compared with.

Without anything set these are stand-in zones on loopback. ``ONEBATON_CONTRACT_ENDPOINTS``
(comma separated) and ``ONEBATON_CONTRACT_AUTH_FILE`` (``user:password``) name another
zone instead, a real one for example; the tests add a server to it and delete it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract import objectstore, terraform_provider
from tests.contract.objectstore import ObjectStore
from tests.standin.harness import SECRET, HarnessError, MariaDB, mariadb, zone

ENDPOINTS = "ONEBATON_CONTRACT_ENDPOINTS"
AUTH_FILE = "ONEBATON_CONTRACT_AUTH_FILE"


def pytest_report_header() -> str:
    """Which AWS provider the tests of Terraform run with."""
    return f"terraform's AWS provider: {terraform_provider.aws_provider().words}"


@pytest.fixture(scope="session")
def private_mariadb() -> Iterator[MariaDB]:
    """A MariaDB of the tests' own; without the program the tests fail."""
    try:
        with mariadb() as database:
            yield database
    except HarnessError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def object_service(aws_calls: Path) -> Iterator[ObjectStore]:
    """An S3-compatible service on loopback."""
    with objectstore.serving(aws_calls / "state") as service:
        yield service


@pytest.fixture
def objects(
    object_service: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStore]:
    """The service in fair weather, with an empty bucket, and keys for it."""
    objectstore.give_keys(monkeypatch, tmp_path)
    object_service.clear()
    yield object_service
    object_service.faults = iter(())


@pytest.fixture(scope="session")
def endpoints_of_610(request: pytest.FixtureRequest) -> Iterator[tuple[list[str], str]]:
    """Endpoints and secret of a zone of three 6.10.0 servers, or of the one named."""
    named = os.environ.get(ENDPOINTS)
    if named:
        secret = Path(os.environ[AUTH_FILE]).read_text(encoding="utf-8").strip()
        yield [one.strip() for one in named.split(",")], secret
        return
    database: MariaDB = request.getfixturevalue("private_mariadb")
    with zone(database, size=3, release="6.10.0") as started:
        yield [server.endpoint for server in started.servers], SECRET


@pytest.fixture(scope="session")
def endpoints_of_702(request: pytest.FixtureRequest) -> Iterator[tuple[list[str], str]]:
    """Endpoint and secret of a zone of one 7.0.2 server, or of the zone named."""
    named = os.environ.get(ENDPOINTS)
    if named:
        secret = Path(os.environ[AUTH_FILE]).read_text(encoding="utf-8").strip()
        yield [one.strip() for one in named.split(",")], secret
        return
    database: MariaDB = request.getfixturevalue("private_mariadb")
    with zone(database, size=1, release="7.0.2") as started:
        yield [server.endpoint for server in started.servers], SECRET
