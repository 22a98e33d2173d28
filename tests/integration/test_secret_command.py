"""Secrets that a command prints: what it prints is shown nowhere, whatever happens."""

import pytest
from tests.fakes.reporter import ListReporter

from onebaton.adapters import process, secrets
from onebaton.config import SecretSource
from onebaton.errors import ConfigError, DeadlineError, UnavailableError
from onebaton.model import Secret

pytestmark = pytest.mark.integration

KEY = "zone.credentials.password"


def fetch(*command: str):
    return secrets.resolve(SecretSource(command=command), key=KEY, reporter=ListReporter())


def test_the_first_line_of_what_a_command_prints():
    assert fetch("printf", "hunter2\nmore\n") == Secret("hunter2")


def test_a_command_is_not_a_shell():
    assert fetch("echo", "$(id); $HOME") == Secret("$(id); $HOME")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo hunter2; echo hunter2 >&2; exit 3", "failed with status 3"),
        ("echo; echo hunter2", "is empty"),
    ],
)
def test_a_failure_names_the_key_and_not_the_output(script, message):
    with pytest.raises(ConfigError, match=message) as caught:
        # The script stands in for a program; its text is no output.
        fetch("sh", "-c", script)
    error = caught.value
    assert KEY in error.message
    shown = " ".join([error.message, *error.details, error.resolution or ""])
    assert "hunter2" not in shown
    assert error.__cause__ is None


def test_a_command_that_hangs(monkeypatch):
    monkeypatch.setattr(secrets, "COMMAND_TIMEOUT_S", 0.3)
    with pytest.raises(DeadlineError, match=KEY) as caught:
        fetch("sh", "-c", "echo hunter2; exec sleep 30")
    assert caught.value.details == ()
    assert caught.value.__suppress_context__


def test_a_command_that_is_not_there():
    with pytest.raises(UnavailableError, match=f"{KEY}: .*no-such-program"):
        fetch("no-such-program")


def test_no_program_is_given_a_secret_of_the_environment(monkeypatch):
    monkeypatch.setattr(process, "_WITHHELD", set())
    monkeypatch.setenv("ONEBATON_TEST_SECRET", "hunter2")
    source = SecretSource(env="ONEBATON_TEST_SECRET")
    secrets.keep_from_programs(source, None)
    for env in (None, {"ADDED": "1"}):
        seen = process.run(["env"], timeout_s=10, env=env).stdout
        assert "hunter2" not in seen
        assert "PATH=" in seen
        assert ("ADDED=1" in seen) == (env is not None)
    assert secrets.resolve(source, key=KEY, reporter=ListReporter()) == Secret("hunter2")
