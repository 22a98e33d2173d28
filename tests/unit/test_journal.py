"""The journal: durable, ordered, readable, and silent about secrets by its very fields."""

import pytest
from tests.fakes.clock import VirtualClock

from onebaton.adapters.store import FolderStore
from onebaton.errors import UnreadableError
from onebaton.rollout import journal


def test_entries_are_read_in_the_order_they_were_written(tmp_path):
    store = FolderStore(tmp_path)
    run = journal.Journal(store, VirtualClock(start=100.0), "20261122T141500-rollout")
    run.write("begun", text="onebaton rollout")
    for number in range(12):
        run.write("started", step=f"step-{number}")
    entries = list(journal.read(store, run.run))
    assert [entry.number for entry in entries] == list(range(1, 14))
    assert entries[0].at == 100.0
    assert entries[0].text == "onebaton rollout"
    assert entries[-1].step == "step-11"


def test_the_last_run_is_the_latest(tmp_path):
    store = FolderStore(tmp_path)
    assert journal.last_run(store) is None
    for run in ("20261122T141500-rollout", "20251122T141500-rollout"):
        journal.Journal(store, VirtualClock(), run).write("begun")
    assert journal.last_run(store) == "20261122T141500-rollout"


@pytest.mark.parametrize("content", [b"", b"{", b'{"run": "x"}', b'{"unknown": 1}'])
def test_an_unreadable_entry_is_named(tmp_path, content):
    store = FolderStore(tmp_path)
    store.write("journal/r/00001.json", content)
    with pytest.raises(UnreadableError, match=r"journal/r/00001\.json"):
        list(journal.read(store, "r"))
