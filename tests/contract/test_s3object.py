"""A dump in an object store is brought to this machine, for its owner alone."""

import pytest
from tests.contract.objectstore import BUCKET

from onebaton.adapters.s3object import fetch
from onebaton.config import S3Config
from onebaton.errors import UnavailableError, UsageError

pytestmark = pytest.mark.contract


def test_it_is_brought_whole(objects, tmp_path):
    content = bytes(range(256)) * 20_000
    objects.client.put_object(Bucket=BUCKET, Key="dumps/one.sql.zst", Body=content)
    into = tmp_path / "dump"
    fetch(f"s3://{BUCKET}/dumps/one.sql.zst", settings(objects), into, timeout_s=30)
    assert into.read_bytes() == content
    assert into.stat().st_mode & 0o777 == 0o600


def test_what_is_not_there_is_told(objects, tmp_path):
    with pytest.raises(UsageError, match="there is no s3://"):
        fetch(f"s3://{BUCKET}/none.sql", settings(objects), tmp_path / "dump", timeout_s=30)
    with pytest.raises(UnavailableError) as caught:
        fetch("s3://no-such-bucket/one.sql", settings(objects), tmp_path / "dump", timeout_s=30)
    assert "s3://no-such-bucket/one.sql" in caught.value.message
    assert not (tmp_path / "dump").exists()


def test_a_fetch_has_a_deadline(objects, tmp_path):
    objects.client.put_object(Bucket=BUCKET, Key="large.sql", Body=b"x" * 5_000_000)
    with pytest.raises(UnavailableError, match="no whole answer"):
        fetch(f"s3://{BUCKET}/large.sql", settings(objects), tmp_path / "dump", timeout_s=0.001)


def test_a_place_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError):
        fetch("s3://B/x", S3Config(), tmp_path / "dump", timeout_s=1)


def settings(objects) -> S3Config:
    return S3Config(endpoint_url=objects.url, region="us-east-1")
