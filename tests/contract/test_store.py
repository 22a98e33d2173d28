"""What every store does alike: the folder, S3, and the one in memory."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.objectstore import BUCKET, ObjectStore
from tests.fakes.store import MemoryStore

from onebaton.adapters.s3store import S3Store
from onebaton.adapters.store import FolderStore
from onebaton.config import S3Config
from onebaton.ports import Store

pytestmark = pytest.mark.contract


def s3(objects: ObjectStore, prefix: str = "/zones/lab") -> Store:
    settings = S3Config(endpoint_url=objects.url, region="us-east-1")
    return S3Store(f"s3://{BUCKET}{prefix}", settings)


@pytest.fixture(params=["folder", "s3", "s3 without a prefix", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    makers: dict[str, Callable[[], Store]] = {
        "folder": lambda: FolderStore(tmp_path / "not" / "yet" / "there"),
        "s3": lambda: s3(request.getfixturevalue("objects")),
        "s3 without a prefix": lambda: s3(request.getfixturevalue("objects"), ""),
        "memory": MemoryStore,
    }
    return makers[request.param]()


def test_nothing_is_there_at_first(store: Store):
    assert store.read("a") is None
    assert list(store.keys("")) == []
    store.delete("a")


def test_what_was_written_last_is_read(store: Store):
    store.write("folder/a.json", b"one")
    store.write("folder/a.json", b"two")
    assert store.read("folder/a.json") == b"two"
    assert store.read("folder/b.json") is None


def test_replace_wants_what_is_there(store: Store):
    assert not store.replace("lock", b"mine", b"yours")
    assert store.read("lock") is None
    store.write("lock", b"mine")
    assert not store.replace("lock", b"theirs", b"yours")
    assert store.replace("lock", b"mine", b"yours")
    assert store.read("lock") == b"yours"
    assert list(store.keys("")) == ["lock"]


def test_of_many_that_replace_the_same_exactly_one_succeeds(store: Store):
    store.write("lock", b"dead")
    begin = threading.Barrier(8)
    won: list[int] = []

    def run(number: int) -> None:
        begin.wait(10)
        if store.replace("lock", b"dead", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(won) == 1
    assert store.read("lock") == str(won[0]).encode()


def test_create_never_replaces(store: Store):
    assert store.create("lock", b"mine")
    assert not store.create("lock", b"yours")
    assert store.read("lock") == b"mine"
    store.delete("lock")
    assert store.create("lock", b"yours")


def test_keys_are_sorted_and_begin_with_the_prefix(store: Store):
    for key in ("b/2", "a/1", "b/1", "bb"):
        store.write(key, b"")
    assert list(store.keys("b")) == ["b/1", "b/2", "bb"]
    assert list(store.keys("b/")) == ["b/1", "b/2"]
    assert list(store.keys("")) == ["a/1", "b/1", "b/2", "bb"]


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../a", "a/../b", "a//b", ".hidden", "a/"])
def test_a_key_cannot_leave_the_store(store: Store, key: str):
    with pytest.raises(ValueError, match="not a key"):
        store.read(key)
    with pytest.raises(ValueError, match="not a key"):
        store.write(key, b"")
    with pytest.raises(ValueError, match="not a key"):
        store.create(key, b"")
    with pytest.raises(ValueError, match="not a key"):
        store.delete(key)


def test_of_several_creators_exactly_one_succeeds(store: Store):
    start = threading.Barrier(8)
    won: list[bytes] = []

    def compete(content: bytes) -> None:
        start.wait()
        if store.create("lock", content):
            won.append(content)

    threads = [threading.Thread(target=compete, args=(b"%d" % n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [store.read("lock")]
