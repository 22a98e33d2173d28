"""What all tests share: two processes run them, and each keeps what shares one place."""

import os
import shutil
from pathlib import Path

import pytest
from tests.integration.aws_calls import RECORDED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One file, one process; one zone of several files, one process as well."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "machines" in fixtures:
            group = "the zone of tests/faults"
        elif "lab" in fixtures and "e2e" in item.path.parts:
            group = "the zone of tests/e2e"
        else:
            group = str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def aws_calls() -> Path:
    """Folder in which each part of this process's tests notes what was asked of AWS."""
    folder = RECORDED / os.environ.get("PYTEST_XDIST_WORKER", "one")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
