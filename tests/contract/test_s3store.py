"""The state in S3: what a folder cannot show. Against moto's server, in bad weather too."""

import json
import logging
import subprocess
import sys
import threading
import time
import traceback
from itertools import repeat

import pytest
from tests.contract.objectstore import (
    ACCESS_KEY,
    BUCKET,
    CONFLICT,
    FAILED,
    SECRET_KEY,
    SLOW_DOWN,
    ObjectStore,
    answers,
    drips,
    hangs,
    heeds_nothing,
    loses_its_answer,
    plainly,
)
from tests.fakes.clock import VirtualClock
from tests.fakes.reporter import ListReporter

from onebaton.adapters.s3service import Patience
from onebaton.adapters.s3store import PROOF, S3Store
from onebaton.config import S3Config
from onebaton.errors import LockedError, OnebatonError, RefusedError, Status, UnavailableError
from onebaton.rollout import lock

pytestmark = pytest.mark.contract

PLACE = f"s3://{BUCKET}/zones/lab"
USUAL = Patience()


def store(
    objects: ObjectStore, place: str = PLACE, *, patience: Patience = USUAL, **settings
) -> S3Store:
    config = S3Config(**({"endpoint_url": objects.url, "region": "us-east-1"} | settings))
    return S3Store(place, config, patience=patience)


def proven(objects: ObjectStore, **said) -> S3Store:
    """A store that was seen to heed conditions: the next request is the test's own."""
    there = store(objects, **said)
    there.create("first", b"")
    objects.seen.clear()
    return there


def said(error: OnebatonError) -> str:
    return "\n".join([error.message, *error.details, error.resolution or ""])


# What is in the bucket


def test_two_clusters_in_one_bucket_do_not_meet(objects):
    one, other = store(objects), store(objects, f"s3://{BUCKET}/zones/lab2")
    one.write("a", b"one")
    other.write("a", b"other")
    assert (one.read("a"), other.read("a")) == (b"one", b"other")
    assert list(one.keys("")) == ["a"]
    names = {entry["Key"] for entry in objects.client.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert names == {"zones/lab/a", "zones/lab2/a"}


def test_more_keys_than_a_page_holds(objects, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    client, there = objects.client, store(objects)
    expected = [f"journal/run/{number:05d}.json" for number in range(8)]
    for key in expected:
        client.put_object(Bucket=BUCKET, Key=f"zones/lab/{key}", Body=b"")
    objects.seen.clear()
    assert list(there.keys("journal/")) == expected
    assert len(objects.seen) == 3


def test_what_others_put_there_is_no_key(objects):
    there = proven(objects)
    objects.client.put_object(Bucket=BUCKET, Key="zones/lab/journal/", Body=b"")
    objects.client.put_object(Bucket=BUCKET, Key="zones/labels", Body=b"")
    assert list(there.keys("")) == ["first"]
    assert objects.client.head_object(Bucket=BUCKET, Key=f"zones/lab/{PROOF}")


@pytest.mark.parametrize(
    ("settings", "algorithm", "key"),
    [
        ({}, "AES256", None),
        ({"encryption": "aws:kms"}, "aws:kms", None),
        ({"encryption": "aws:kms", "kms_key_id": "alias/zones"}, "aws:kms", "alias/zones"),
    ],
)
def test_every_write_is_encrypted_as_configured(objects, settings, algorithm, key):
    there = store(objects, **settings)
    there.write("written", b"1")
    there.create("created", b"1")
    there.replace("written", b"1", b"2")
    for name in ("written", "created", PROOF):
        head = objects.client.head_object(Bucket=BUCKET, Key=f"zones/lab/{name}")
        assert head["ServerSideEncryption"] == algorithm
        assert head.get("SSEKMSKeyId") == key


# Conditions


def test_two_machines_that_create_the_same_get_one_object(objects):
    begin = threading.Barrier(6)
    won: list[bytes] = []

    def compete(content: bytes) -> None:
        there = store(objects)
        begin.wait(20)
        if there.create("lock", content):
            won.append(content)

    threads = [threading.Thread(target=compete, args=(b"%d" % n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert won == [store(objects).read("lock")]


def test_a_store_that_heeds_no_conditions_is_refused_before_the_first(objects):
    there = store(objects)
    objects.faults = repeat(heeds_nothing("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"))
    with pytest.raises(RefusedError, match="does not heed conditional writes") as refused:
        there.create("lock", b"mine")
    assert "If-None-Match and If-Match" in refused.value.details[0]
    assert there.read("lock") is None


@pytest.mark.parametrize(
    ("header", "named"), [("HTTP_IF_NONE_MATCH", "If-None-Match"), ("HTTP_IF_MATCH", "If-Match")]
)
def test_one_condition_unheeded_is_enough(objects, header, named):
    objects.faults = repeat(heeds_nothing(header))
    with pytest.raises(RefusedError) as refused:
        store(objects).replace("lock", b"a", b"b")
    assert refused.value.details == (f"it wrote over an object in spite of {named}",)


@pytest.mark.parametrize("status", ["501 Not Implemented", "304 Not Modified"])
def test_a_store_that_knows_no_conditions_is_told(objects, status):
    objects.faults = repeat(answers(status, "NotImplemented"))
    there = store(objects, patience=Patience(attempts=1))
    with pytest.raises(UnavailableError, match="lacks something") as refused:
        there.create("lock", b"mine")
    assert "conditional writes" in (refused.value.resolution or "")


def test_from_the_second_time_on_nothing_is_written_to_try_conditions(objects):
    proven(objects)
    again = store(objects)
    objects.client.put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}
    )
    assert not again.create("first", b"")
    versions = objects.client.list_object_versions(Bucket=BUCKET)["Versions"]
    assert sum(entry["Key"].endswith(PROOF) for entry in versions) == 1


@pytest.mark.parametrize("change", ["create", "replace"])
def test_a_write_whose_answer_was_lost_counts(objects, change):
    there = proven(objects)
    if change == "create":
        objects.faults = iter([loses_its_answer])
        assert there.create("lock", b"mine")
    else:
        there.write("lock", b"dead")
        objects.faults = iter([plainly, loses_its_answer])
        assert there.replace("lock", b"dead", b"mine")
    assert there.read("lock") == b"mine"


def test_a_write_that_failed_beside_another_runs_does_not_count(objects):
    there = proven(objects)

    def other_was_first(app, environ, start):
        objects.client.put_object(Bucket=BUCKET, Key="zones/lab/lock", Body=b"mine")
        return FAILED(app, environ, start)

    # The same content even: what tells them apart is who wrote it.
    objects.faults = iter([other_was_first])
    assert not there.create("lock", b"mine")


def test_a_conflict_is_tried_again(objects):
    there = proven(objects)
    objects.faults = iter([CONFLICT, CONFLICT])
    assert there.create("lock", b"mine")
    objects.faults = repeat(CONFLICT)
    with pytest.raises(UnavailableError, match="others write the same object"):
        there.create("other", b"mine")


# The lock


def hold(there, *, break_lock=False, reporter=None):
    return lock.held(
        there, VirtualClock(), reporter or ListReporter(), "onebaton rollout", break_lock=break_lock
    )


HOLD = """
import sys, time
from onebaton.adapters.s3store import S3Store
from onebaton.config import S3Config
from onebaton.rollout import lock
from onebaton.wiring.cluster import SystemClock
store = S3Store(sys.argv[1], S3Config(endpoint_url=sys.argv[2], region="us-east-1"))
with lock.held(store, SystemClock(), None, "onebaton rollout"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_of_two_runs_one_is_refused_until_the_other_is_dead(objects):
    there = store(objects)
    argv = [sys.executable, "-c", HOLD, PLACE, objects.url]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(LockedError) as refused, hold(there):
            pass
        assert f"process {owner.pid}" in refused.value.details[0]
        owner.kill()
        owner.wait(10)
    reporter = ListReporter()
    with hold(there, reporter=reporter):
        assert "took over" in reporter.warnings[0]
    assert there.read(lock.KEY) is None


def test_the_lock_of_another_machine_is_broken_knowingly(objects):
    there = store(objects)
    with hold(there):
        owner = json.loads(there.read(lock.KEY))
    there.write(lock.KEY, json.dumps(owner | {"host": "another-one", "at": 0.0}).encode())
    with pytest.raises(LockedError) as refused, hold(there):
        pass
    assert "on another-one" in refused.value.details[0]
    assert "since" in refused.value.details[0]
    assert "--break-lock" in (refused.value.resolution or "")
    with hold(there, break_lock=True):
        pass


# Bad weather


@pytest.mark.parametrize("fault", [SLOW_DOWN, FAILED])
def test_a_service_that_recovers_is_waited_for(objects, fault):
    there = proven(objects)
    for change in (
        lambda: there.write("a", b"1"),
        lambda: there.read("a"),
        lambda: list(there.keys("")),
        lambda: there.create("b", b"1"),
        lambda: there.delete("b"),
    ):
        objects.faults = iter([fault])
        change()
    assert list(there.keys("")) == ["a", "first"]
    assert there.read("a") == b"1"


@pytest.mark.parametrize(
    ("fault", "words", "code"),
    [
        (SLOW_DOWN, "is overloaded", "SlowDown (HTTP status 503)"),
        (FAILED, "the service failed", "InternalError (HTTP status 500)"),
    ],
)
def test_a_service_that_does_not_recover_is_told(objects, fault, words, code):
    there = store(objects, patience=Patience(attempts=3))
    objects.faults = repeat(fault)
    with pytest.raises(UnavailableError, match=words) as raised:
        there.write("lock.json", b"")
    assert raised.value.status is Status.UNAVAILABLE
    assert f"{PLACE}/lock.json" in raised.value.message
    assert raised.value.details == (
        f"bucket {BUCKET} at {objects.url}",
        f"it answered {code}, after 3 tries",
    )
    assert len(objects.seen) == 3


@pytest.mark.parametrize("fault", [hangs, drips])
@pytest.mark.parametrize("change", ["read", "write", "keys"])
def test_no_call_takes_longer_than_it_may(objects, fault, change):
    there = store(objects, patience=Patience(read_s=0.4, attempts=50), timeout_s=1.2)
    objects.faults = repeat(fault(objects))
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        {
            "read": lambda: there.read("a"),
            "write": lambda: there.write("a", b""),
            "keys": lambda: list(there.keys("a")),
        }[change]()
    assert time.monotonic() - began < 4
    # What was given up is not tried again behind our back.
    time.sleep(0.6)
    seen = len(objects.seen)
    time.sleep(1.0)
    assert len(objects.seen) == seen


def test_a_closed_port_is_told(objects):
    there = store(objects, endpoint_url="http://127.0.0.1:9", patience=Patience(attempts=2))
    with pytest.raises(UnavailableError, match="cannot be reached") as raised:
        there.read("a")
    assert "127.0.0.1:9" in said(raised.value)


@pytest.mark.parametrize(
    ("status", "code", "words", "way_out"),
    [
        ("403 Forbidden", "AccessDenied", "access is denied", "s3:PutObject"),
        ("403 Forbidden", "InvalidAccessKeyId", "does not know the keys", "AWS_PROFILE"),
        ("403 Forbidden", "SignatureDoesNotMatch", "does not know the keys", "AWS_PROFILE"),
        ("403 Forbidden", "RequestTimeTooSkewed", "clock is wrong", "clock"),
        ("403 Forbidden", "KMS.DisabledException", "encryption key", "s3.kms_key_id"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "another region", "s3.region"),
        ("418 Teapot", "Tea", "none that S3 gives", "s3.endpoint_url"),
    ],
)
def test_a_refusal_is_told_with_the_way_out(objects, status, code, words, way_out):
    objects.faults = repeat(answers(status, code))
    with pytest.raises(UnavailableError, match=words) as raised:
        store(objects).read("a")
    assert way_out in (raised.value.resolution or "")
    assert code in said(raised.value)


def test_a_bucket_that_is_not_there_is_told(objects):
    with pytest.raises(UnavailableError, match="no such bucket") as raised:
        store(objects, "s3://no-such-bucket/x").read("a")
    assert "Create the bucket" in (raised.value.resolution or "")


def test_missing_keys_are_told(objects, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UnavailableError, match="no keys") as raised:
        store(objects).read("a")
    assert "AWS_PROFILE" in (raised.value.resolution or "")
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    with pytest.raises(UnavailableError, match="no keys"):
        store(objects).read("a")


def test_what_is_no_s3_is_told(objects):
    def a_page(_app, environ, start):
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start("200 OK", [("Content-Type", "text/html")])
        return [b"<html><body>it works!</body></html>"]

    objects.faults = repeat(a_page)
    there = store(objects)
    for call in (
        lambda: there.read("a"),
        lambda: there.write("a", b""),
        lambda: there.create("a", b""),
        lambda: list(there.keys("")),
    ):
        with pytest.raises(UnavailableError, match="none that S3 gives"):
            call()


def test_no_secret_gets_out(objects, monkeypatch, caplog):
    """Not even where the service repeats what it was sent."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t0ken-only-for-tests")
    with caplog.at_level(logging.INFO):
        for fault in (SLOW_DOWN, answers("403 Forbidden", "SignatureDoesNotMatch")):
            objects.faults = repeat(fault)
            with pytest.raises(UnavailableError) as raised:
                store(objects, patience=Patience(attempts=1)).write("a", b"")
            text = said(raised.value) + "".join(traceback.format_exception(raised.value))
            for secret in (ACCESS_KEY, SECRET_KEY, "t0ken", "Signature="):
                assert secret not in text + caplog.text
