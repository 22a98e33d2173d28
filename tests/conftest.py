"""What all kinds of tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def aws_calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which each part of the tests notes what was asked of AWS."""
    folder = tmp_path_factory.getbasetemp() / "aws-calls"
    folder.mkdir(exist_ok=True)
    return folder
