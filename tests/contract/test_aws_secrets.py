"""Secrets that AWS keeps, against moto's services: what is found, and what is told if not."""

import json
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator

import boto3
import pytest
from tests.contract import objectstore
from tests.contract.objectstore import ACCESS_KEY, SECRET_KEY, App, ObjectStore, for_ever, hangs
from tests.fakes.reporter import ListReporter

from onebaton.adapters.secrets import resolve
from onebaton.config import SecretsConfig, SecretSource
from onebaton.errors import ConfigError, DeadlineError, OnebatonError, UnavailableError
from onebaton.model import Secret

pytestmark = pytest.mark.contract

KEY = "zone.credentials.password"
HUNTER = "hunter2-only-for-tests"


@pytest.fixture(scope="module")
def filled(
    object_service: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ObjectStore]:
    """Both services with what the tests ask for, and keys for them."""
    with pytest.MonkeyPatch.context() as patch:
        objectstore.give_keys(patch, tmp_path_factory.mktemp("aws"))
        object_service.clear()
        _fill(object_service)
        yield object_service


@pytest.fixture
def kept(filled: ObjectStore) -> Iterator[ObjectStore]:
    """The same in fair weather."""
    filled.seen.clear()
    yield filled
    filled.faults = iter(())


def _fill(objects: ObjectStore) -> None:
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="eu-central-1")
    ssm = session.client("ssm", endpoint_url=objects.url)
    ssm.put_parameter(Name="/cloud/oneadmin", Value=HUNTER, Type="SecureString")
    ssm.put_parameter(Name="plain", Value=f"{HUNTER}\nmore", Type="String")
    ssm.put_parameter(Name="/cloud/list", Value=f"{HUNTER},other", Type="StringList")
    secrets = session.client("secretsmanager", endpoint_url=objects.url)
    secrets.create_secret(Name="cloud/oneadmin", SecretString=HUNTER)
    fields = {"password": HUNTER, "port": 3306, "username": "oneadmin"}
    secrets.create_secret(Name="cloud/fields", SecretString=json.dumps(fields))
    secrets.create_secret(Name="cloud/bytes", SecretBinary=HUNTER.encode())
    secrets.create_secret(Name="cloud/gone", SecretString=HUNTER)
    secrets.delete_secret(SecretId="cloud/gone")


def fetch(service: ObjectStore, source: dict[str, str], **settings) -> Secret:
    config = SecretsConfig(**({"endpoint_url": service.url, "region": "eu-central-1"} | settings))
    return resolve(SecretSource(**source), key=KEY, reporter=ListReporter(), aws=config)


def said(error: OnebatonError) -> str:
    return "\n".join(
        [error.message, *error.details, error.resolution or "", *traceback.format_exception(error)]
    )


def refuses(status: str, code: str) -> Callable[[App, dict, Callable], Iterable[bytes]]:
    """An error as these two services word one, which may repeat what it was sent."""

    def fault(_app, environ, start):
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(status, [("Content-Type", "application/x-amz-json-1.1")])
        text = environ.get("HTTP_AUTHORIZATION", "") + HUNTER
        return [json.dumps({"__type": code, "message": text}).encode()]

    return fault


@pytest.mark.parametrize(
    "source",
    [
        {"ssm": "/cloud/oneadmin"},
        {"ssm": "plain"},
        {"ssm": "plain:1"},
        {"secretsmanager": "cloud/oneadmin"},
        {"secretsmanager": "cloud/fields#password"},
    ],
    ids=str,
)
def test_a_secret_is_found(kept, source):
    assert fetch(kept, source) == Secret(HUNTER)


def test_region_and_address_come_from_the_aws_settings_too(kept, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", kept.url)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    for source in ({"ssm": "plain"}, {"secretsmanager": "cloud/oneadmin"}):
        found = resolve(SecretSource(**source), key=KEY, reporter=ListReporter())
        assert found == Secret(HUNTER)


@pytest.mark.parametrize(
    ("source", "words", "way_out"),
    [
        ({"ssm": "/cloud/none"}, "Parameter Store is not there", "secrets.region"),
        ({"ssm": "plain:9"}, "is not there", "secrets.region"),
        ({"ssm": "/cloud/list"}, "is a list", "SecureString"),
        ({"secretsmanager": "cloud/none"}, "Secrets Manager is not there", "secrets.region"),
        ({"secretsmanager": "cloud/gone"}, "as it stands", "marked for deletion"),
        ({"secretsmanager": "cloud/bytes"}, "holds bytes", "as text"),
        ({"secretsmanager": "cloud/fields"}, "is a JSON object", "cloud/fields#KEY"),
        ({"secretsmanager": "cloud/fields#pass"}, "has no key 'pass'", "#"),
        ({"secretsmanager": "cloud/fields#port"}, "is no text", "quotes"),
        ({"secretsmanager": "cloud/oneadmin#a"}, "is no JSON object", "cloud/oneadmin"),
    ],
    ids=str,
)
def test_a_mistake_is_told_with_its_place_in_the_file(kept, source, words, way_out):
    with pytest.raises(ConfigError, match=words) as raised:
        fetch(kept, source)
    assert raised.value.message.startswith(f"{KEY}: {next(iter(source.values()))}")
    assert way_out in (raised.value.resolution or "")
    assert kept.url in raised.value.details[0]
    assert HUNTER not in said(raised.value)


@pytest.mark.parametrize(
    "refusal",
    [
        ("400 Bad Request", "AccessDeniedException", "access is denied", "ssm:GetParameter"),
        ("400 Bad Request", "UnrecognizedClientException", "not know the keys", "AWS_PROFILE"),
        ("400 Bad Request", "ExpiredTokenException", "not know the keys", "AWS_PROFILE"),
        ("400 Bad Request", "ThrottlingException", "overloaded", "Wait"),
        ("400 Bad Request", "InvalidKeyId", "cannot be decrypted", "kms:Decrypt"),
        ("500 Internal Server Error", "InternalServerError", "failed", "Wait"),
    ],
)
def test_a_refusal_is_told_with_the_way_out(kept, caplog, monkeypatch, refusal):
    status, code, words, way_out = refusal
    monkeypatch.setattr("onebaton.adapters.aws_secrets.ATTEMPTS", 1)
    kept.faults = for_ever(refuses(status, code))
    with caplog.at_level(logging.INFO), pytest.raises(UnavailableError, match=words) as raised:
        fetch(kept, {"ssm": "plain"})
    assert raised.value.message.startswith(f"{KEY}: plain")
    assert way_out in (raised.value.resolution or "")
    assert code in raised.value.details[1]
    for secret in (HUNTER, SECRET_KEY, "Signature="):
        assert secret not in said(raised.value) + caplog.text


def test_a_service_that_recovers_is_waited_for(kept):
    kept.faults = iter([refuses("500 Internal Server Error", "InternalServerError")])
    assert fetch(kept, {"ssm": "plain"}) == Secret(HUNTER)


def test_a_service_that_hangs_is_given_up_in_time(kept):
    kept.faults = for_ever(hangs(kept))
    began = time.monotonic()
    with pytest.raises((DeadlineError, UnavailableError), match=KEY):
        fetch(kept, {"ssm": "plain"}, timeout_s=0.8)
    assert time.monotonic() - began < 3


def test_a_closed_port_and_missing_settings_are_told(kept, monkeypatch):
    monkeypatch.setattr("onebaton.adapters.aws_secrets.ATTEMPTS", 1)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        fetch(kept, {"ssm": "plain"}, endpoint_url="http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="region is not known") as raised:
        fetch(kept, {"ssm": "plain"}, endpoint_url=None, region=None)
    assert "secrets.region" in (raised.value.resolution or "")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(UnavailableError, match="no keys"):
        fetch(kept, {"ssm": "plain"})
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UnavailableError, match="no keys"):
        fetch(kept, {"secretsmanager": "cloud/oneadmin"})


def test_what_is_no_aws_is_told(kept):
    def a_page(_app, environ, start):
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start("200 OK", [("Content-Type", "text/html")])
        return [b"{}"]

    kept.faults = for_ever(a_page)
    for source in ({"ssm": "plain"}, {"secretsmanager": "cloud/oneadmin"}):
        with pytest.raises(UnavailableError, match="none that AWS gives"):
            fetch(kept, source)
