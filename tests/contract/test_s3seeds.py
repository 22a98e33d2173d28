"""The bucket's part in a seed: links for machines without keys, and nothing left behind."""

import hashlib
import logging
import traceback

import pytest
import requests
from tests.contract.objectstore import (
    BUCKET,
    FAILED,
    SECRET_KEY,
    SLOW_DOWN,
    ObjectStore,
    answers,
    for_ever,
)

from onebaton.adapters import s3seeds
from onebaton.adapters.passing import Errand
from onebaton.adapters.s3seeds import S3Passage
from onebaton.adapters.s3service import Patience
from onebaton.adapters.s3store import S3Store
from onebaton.config import S3Config
from onebaton.errors import UnavailableError

pytestmark = pytest.mark.contract

PLACE = f"s3://{BUCKET}/zones/lab"
CONTENT = b"\0part\n" * 1000


def config(objects: ObjectStore, **settings) -> S3Config:
    return S3Config(**({"endpoint_url": objects.url, "region": "us-east-1"} | settings))


def passage(objects: ObjectStore, **settings) -> S3Passage:
    return S3Passage(PLACE, config(objects, **settings), patience=Patience(attempts=3))


def send(errand: Errand, content: bytes = CONTENT) -> None:
    """As a machine without keys does it."""
    headers = dict(header.split(": ") for header in errand.headers)
    requests.put(errand.link.reveal(), content, headers=headers, timeout=10).raise_for_status()


def left(objects: ObjectStore) -> set[str]:
    listed = objects.client.list_object_versions(Bucket=BUCKET)
    return {
        entry["Key"] for kind in ("Versions", "DeleteMarkers") for entry in listed.get(kind, [])
    }


def test_a_machine_without_keys_sends_and_another_one_fetches(objects):
    there = passage(objects)
    send(there.sending("r/000001", valid_s=60))
    link = there.fetching("r/000001", valid_s=60).link.reveal()
    fetched = requests.get(link, timeout=10).content
    assert hashlib.sha256(fetched).digest() == hashlib.sha256(CONTENT).digest()
    kept = objects.client.head_object(Bucket=BUCKET, Key="zones/lab/seeds/r/000001")
    assert kept["ServerSideEncryption"] == "AES256"
    assert there.place == f"{PLACE}/seeds"


@pytest.mark.parametrize("versioned", [False, True])
def test_nothing_is_left_and_nothing_else_is_touched(objects, monkeypatch, versioned):
    monkeypatch.setattr(s3seeds, "PAGE", 2)
    if versioned:
        objects.client.put_bucket_versioning(
            Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}
        )
    state = S3Store(PLACE, config(objects))
    state.write("journal/1", b"kept")
    state.write("seedsman", b"kept")
    there = passage(objects)
    for number in range(3):
        send(there.sending(f"r/{number:06d}", valid_s=60))
    send(there.sending("r/000000", valid_s=60), b"again")
    objects.client.delete_object(Bucket=BUCKET, Key="zones/lab/seeds/r/000001")
    # Once in a bucket that keeps versions: two of one, and the mark of what was removed.
    assert there.clear() == (5 if versioned else 2)
    assert left(objects) == {"zones/lab/journal/1", "zones/lab/seedsman"}
    assert there.clear() == 0


def test_a_store_that_removes_nothing_is_told(objects):
    there = passage(objects)
    send(there.sending("r/000001", valid_s=60))

    def keeps(app, environ, start):
        if environ["REQUEST_METHOD"] == "DELETE":
            start("204 No Content", [])
            return [b""]
        return app(environ, start)

    objects.faults = for_ever(keeps)
    with pytest.raises(UnavailableError, match="does not go away") as raised:
        there.clear()
    assert "zones/lab/seeds/r/000001" in raised.value.details[0]


@pytest.mark.parametrize("fault", [SLOW_DOWN, FAILED])
def test_a_service_that_recovers_is_waited_for(objects, fault):
    there = passage(objects)
    send(there.sending("r/000001", valid_s=60))
    objects.faults = iter([fault])
    assert there.clear() == 1


def test_a_refusal_is_told_without_keys_or_links(objects, caplog):
    objects.faults = for_ever(answers("403 Forbidden", "AccessDenied"))
    with caplog.at_level(logging.INFO), pytest.raises(UnavailableError, match="denied") as raised:
        passage(objects).clear()
    said = "\n".join([*raised.value.details, *traceback.format_exception(raised.value)])
    assert "seeds/" in raised.value.message
    for secret in (SECRET_KEY, "Signature="):
        assert secret not in said + caplog.text


def test_missing_keys_are_told_before_any_machine_is_asked(objects, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    there = passage(objects)
    for ask in (lambda: there.sending("r/000001", valid_s=60), there.clear):
        with pytest.raises(UnavailableError, match="no keys"):
            ask()
