"""What all tests share: two processes run them, and each keeps what shares one place."""

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.integration.aws_calls import RECORDED
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from onebaton.errors import OnebatonError


class ByPlace(LoadScopeScheduling):
    """One file, one process; one zone of several files, one process as well."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.partition("::")[0])
        return str(path.parent if path.parent.name in ("e2e", "faults") else path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByPlace:
    """How tests are dealt out where several processes run them."""
    return ByPlace(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """An error of ours is more than its message."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, OnebatonError):
        told = [error.message, *error.details, error.resolution or ""]
        report.sections.append(("What the error tells", "\n".join(told)))
    return report


@pytest.fixture(scope="session")
def aws_calls() -> Path:
    """Folder in which each part of this process's tests notes what was asked of AWS."""
    folder = RECORDED / os.environ.get("PYTEST_XDIST_WORKER", "one")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
