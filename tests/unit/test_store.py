"""What only a folder can get wrong."""

from pathlib import Path

import pytest

from onebaton.adapters import store as module
from onebaton.adapters.store import FolderStore
from onebaton.errors import UnavailableError


def test_a_write_that_breaks_off_leaves_the_old_content_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = FolderStore(tmp_path)
    store.write("images/a.json", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(UnavailableError, match="No space left") as raised:
        store.write("images/a.json", b"new")
    assert raised.value.resolution is not None
    monkeypatch.undo()
    assert store.read("images/a.json") == b"old"
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["a.json"]


def test_files_being_written_are_no_keys(tmp_path: Path):
    store = FolderStore(tmp_path)
    store.write("images/a.json", b"")
    (tmp_path / "images" / ".writing-xyz").write_bytes(b"half")
    assert list(store.keys("images/")) == ["images/a.json"]


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path: Path):
    (tmp_path / "a").mkdir()
    with pytest.raises(UnavailableError, match="cannot read"):
        FolderStore(tmp_path).read("a")
