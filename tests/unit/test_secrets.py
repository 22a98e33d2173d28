"""Secrets from files and the environment; commands are tried in tests/integration."""

import json
import pickle

import pytest
from tests.fakes.reporter import ListReporter

from onebaton.adapters.secrets import resolve
from onebaton.config import SecretSource
from onebaton.errors import ConfigError
from onebaton.model import Secret

KEY = "zone.credentials.password"


def fetch(source, reporter=None, environ=None):
    return resolve(source, key=KEY, reporter=reporter or ListReporter(), environ=environ or {})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize("content", ["hunter2", "hunter2\n", "hunter2\r\n", "hunter2\nmore\n"])
def test_the_first_line_of_a_file(file, content):
    file.write_text(content)
    reporter = ListReporter()
    assert fetch(SecretSource(file=file), reporter) == Secret("hunter2")
    assert reporter.warnings == []


def test_a_file_that_everybody_reads_is_warned_of(file):
    file.write_text("hunter2")
    file.chmod(0o644)
    reporter = ListReporter()
    fetch(SecretSource(file=file), reporter)
    (warning,) = reporter.warnings
    assert KEY in warning
    assert str(file) in warning
    assert "hunter2" not in warning


def test_a_variable_of_the_environment():
    assert fetch(SecretSource(env="PW"), environ={"PW": "hunter2"}) == Secret("hunter2")


@pytest.mark.parametrize("environ", [{}, {"PW": ""}, {"PW": "  \nhunter2"}])
def test_an_empty_variable_is_a_mistake_with_its_key(environ):
    with pytest.raises(ConfigError, match=f"{KEY}: the environment variable PW") as caught:
        fetch(SecretSource(env="PW"), environ=environ)
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"\nhunter2", b"\xffhunter2"])
def test_a_file_without_a_secret_is_a_mistake_with_its_key(file, content):
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{KEY}: the file {file}") as caught:
        fetch(SecretSource(file=file))
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        fetch(SecretSource(file=tmp_path / "none"))


def test_a_secret_shows_itself_nowhere(file):
    file.write_text("hunter2")
    secret = fetch(SecretSource(file=file))
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret:>20}",
        repr([secret]),
        repr({1: secret}),
    ]
    assert "hunter2" not in "".join(shown)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
