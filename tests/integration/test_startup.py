"""What a start imports: the help and a command's own words need no library to speak of."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

SLOW = ("boto3", "pyone", "rich", "pydantic", "jinja2", "ruamel", "python_terraform", "requests")


def loaded(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after running ``code``."""
    code += "\nimport sys; print('\\n'.join({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "from onebaton.main import main; main(['--help'])",
        "from onebaton.main import main; main(['status', '--help'])",
        "from onebaton.main import main; main(['status', '--wrong'])",
        "import onebaton.commands.status",
        "import onebaton.wiring",
    ],
)
def test_nothing_slow_is_imported(code):
    assert loaded(code).intersection(SLOW) == set()


def test_the_help_does_not_even_need_typer():
    assert "typer" not in loaded("from onebaton.main import main; main(['--help'])")


def test_a_plain_log_does_not_need_rich():
    code = """
from onebaton.ui.console import open_reporter
with open_reporter(plain=True) as reporter:
    reporter.note('x')
"""
    assert "rich" not in loaded(code)
