"""The image catalogue."""

import json
from dataclasses import replace

import pytest
from tests.fakes.store import MemoryStore

from onebaton.bake.catalogue import Catalogue
from onebaton.errors import Status, UnreadableError
from onebaton.model import UNKNOWN_SCHEMA, Image, Schema

IMAGE = Image(
    name="localhost/onebaton/opennebula:6.10.0-20260101000000-abc",
    digest="sha256:1",
    version="6.10.0",
    schema=Schema("6.10.0", "6.8.0"),
    platform="podman",
    base="mmdebstrap:bookworm",
    recipe_digest="sha256:r",
    built_at="2026-01-01T00:00:00Z",
    packer_version="1.6.6",
)
NEWER = replace(IMAGE, name="other:2", digest="sha256:2", built_at="2026-01-02T00:00:00Z")
OTHER = replace(
    IMAGE, name="c:3", digest="sha256:3", version="6.10.5", recipe_digest="sha256:s",
    built_at="2026-01-03T00:00:00Z",
)  # fmt: skip


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def catalogue(store: MemoryStore) -> Catalogue:
    catalogue = Catalogue(store)
    for image in (NEWER, OTHER, IMAGE):
        catalogue.add(image)
    return catalogue


def test_an_entry_comes_back_as_it_was(catalogue: Catalogue):
    assert catalogue.get(IMAGE.name) == IMAGE
    assert catalogue.get("never:baked") is None


def test_listed_oldest_first_and_found_newest_first(catalogue: Catalogue):
    assert catalogue.list() == (IMAGE, NEWER, OTHER)
    assert catalogue.find("6.10.0") == (NEWER, IMAGE)
    assert catalogue.latest("6.10.0") == NEWER
    assert catalogue.latest("7.0.2") is None
    assert catalogue.by_recipe("sha256:r") == (NEWER, IMAGE)
    assert catalogue.by_digest("sha256:3") == OTHER
    assert catalogue.by_digest("sha256:4") is None


def test_a_removed_image_is_forgotten(catalogue: Catalogue):
    catalogue.remove(NEWER.name)
    catalogue.remove(NEWER.name)
    assert catalogue.list() == (IMAGE, OTHER)


def test_an_image_that_nobody_asked_for_its_schema_does_not_enter(catalogue: Catalogue):
    with pytest.raises(ValueError, match="schema"):
        catalogue.add(replace(IMAGE, schema=UNKNOWN_SCHEMA))


def _damaged(**changes: object) -> bytes:
    store = MemoryStore()
    Catalogue(store).add(IMAGE)
    (content,) = store.content.values()
    return json.dumps({**json.loads(content), **changes}).encode()


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "file: "),
        (b'{"name": "half', "file: "),
        (b"\xff\xfe", "file: "),
        (b"[]", "file: "),
        (b"{}", "digest: "),
        (_damaged(version=6), "version: "),
        (_damaged(digest=""), "digest: "),
        (_damaged(surprise=1), "surprise: "),
        (_damaged(schema="6.10.0"), "schema: "),
        (_damaged(built_at="yesterday"), "built_at: "),
        (_damaged(built_at="2026-01-01T00:00:00"), "built_at: "),
        (_damaged(format=2), "format 2"),
        (_damaged(name="another:1"), "another:1"),
    ],
)
def test_an_entry_that_cannot_be_read_is_never_passed_over(
    store: MemoryStore, catalogue: Catalogue, content: bytes, detail: str
):
    key = next(key for key in store.content if "6.10.0-2026" in key)
    store.write(key, content)
    for read in (catalogue.list, lambda: catalogue.get(IMAGE.name), lambda: catalogue.find("x")):
        with pytest.raises(UnreadableError) as raised:
            read()
        assert key in raised.value.message
        assert any(detail in line for line in raised.value.details), raised.value.details
        assert raised.value.resolution is not None
        assert raised.value.status is Status.UNREADABLE
