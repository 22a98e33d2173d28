"""The lock: one run at a time, and only a provably dead owner is passed over."""

import json
import os
import socket
import subprocess
import sys

import pytest
from tests.fakes.clock import VirtualClock
from tests.fakes.reporter import ListReporter

from onebaton.adapters.store import FolderStore
from onebaton.errors import LockedError, UnavailableError, UnreadableError
from onebaton.rollout import lock


def hold(store, *, break_lock=False, reporter=None):
    return lock.held(
        store, VirtualClock(), reporter or ListReporter(), "onebaton rollout", break_lock=break_lock
    )


def leave_behind(store, **changes):
    """A lock as another process would have left it."""
    with hold(store):
        owner = json.loads(store.read(lock.KEY))
    store.write(lock.KEY, json.dumps(owner | changes).encode())


def test_the_lock_is_free_again_after_the_block(tmp_path):
    store = FolderStore(tmp_path)
    with hold(store):
        assert store.read(lock.KEY) is not None
    assert store.read(lock.KEY) is None
    with hold(store):
        pass


def test_the_lock_is_free_again_after_an_error(tmp_path):
    store = FolderStore(tmp_path)
    with pytest.raises(ZeroDivisionError), hold(store):
        _ = 1 / 0
    assert store.read(lock.KEY) is None


def test_what_went_wrong_is_told_where_the_lock_cannot_be_removed(tmp_path):
    class ReadOnly(FolderStore):
        def delete(self, key):
            raise UnavailableError(f"cannot remove {key}")

    with pytest.raises(ZeroDivisionError), hold(ReadOnly(tmp_path)):
        _ = 1 / 0
    with pytest.raises(UnavailableError, match=lock.KEY), hold(ReadOnly(tmp_path / "other")):
        pass


def test_a_living_owner_is_respected_and_named(tmp_path):
    store = FolderStore(tmp_path)
    with hold(store), pytest.raises(LockedError) as refused, hold(store):
        pass
    assert "onebaton rollout" in refused.value.details[0]
    assert "--break-lock" in (refused.value.resolution or "")


def test_a_process_of_this_host_that_is_gone_loses_the_lock(tmp_path):
    store = FolderStore(tmp_path)
    leave_behind(store, pid=2**22 + 1)
    reporter = ListReporter()
    with hold(store, reporter=reporter):
        pass
    assert "took over" in reporter.warnings[0]


HOLD = """
import sys, time
from pathlib import Path
from onebaton.adapters.store import FolderStore
from onebaton.rollout import lock
from onebaton.wiring.cluster import SystemClock
with lock.held(FolderStore(Path(sys.argv[1])), SystemClock(), None, "onebaton rollout"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_owner_that_nobody_reaped_loses_the_lock(tmp_path):
    """As under a process 1 that never looks after its children."""
    store = FolderStore(tmp_path)
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(LockedError), hold(store):
            pass
        owner.kill()
        # Ended, and left as it is: a zombie until this block is left.
        os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)
        with hold(store):
            pass


def test_a_later_process_with_the_same_id_is_not_the_owner(tmp_path):
    store = FolderStore(tmp_path)
    with hold(store):
        boot = json.loads(store.read(lock.KEY))["born"].partition(":")[0]
    leave_behind(store, born=f"{boot}:1")
    with hold(store):
        pass


def test_a_machine_that_was_started_anew_has_none_of_its_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_machine", lambda: "this one")
    store = FolderStore(tmp_path)
    leave_behind(store, born="another-boot:1")
    with hold(store):
        pass


@pytest.mark.parametrize("machine", ["this one", ""])
@pytest.mark.parametrize(
    "other",
    [
        # Started at another time, as every other machine was.
        {"machine": "another one", "born": "another-boot:1"},
        {"machine": "", "born": "another-boot:1"},
        # A container beside ours: the same kernel, and process ids of its own.
        {"namespace": "pid:[1]", "pid": 2**22 + 1},
    ],
)
def test_another_machine_of_the_same_name_may_have_a_living_owner(
    tmp_path, monkeypatch, machine, other
):
    monkeypatch.setattr(lock, "_machine", lambda: machine)
    store = FolderStore(tmp_path)
    leave_behind(store, **other)
    with pytest.raises(LockedError), hold(store):
        pass
    with hold(store, break_lock=True):
        pass


def test_another_hosts_lock_is_broken_only_knowingly(tmp_path):
    store = FolderStore(tmp_path)
    leave_behind(store, host=f"not-{socket.gethostname()}")
    with pytest.raises(LockedError), hold(store):
        pass
    with hold(store, break_lock=True):
        pass
    assert store.read(lock.KEY) is None


def test_an_unreadable_lock_is_not_passed_over(tmp_path):
    store = FolderStore(tmp_path)
    store.write(lock.KEY, b"{")
    with pytest.raises(UnreadableError), hold(store):
        pass


def test_a_run_whose_lock_was_broken_learns_of_it(tmp_path):
    store = FolderStore(tmp_path)
    with hold(store) as mine:
        mine.require()
        with hold(store, break_lock=True), pytest.raises(LockedError, match="broke the lock"):
            mine.require()
        with pytest.raises(LockedError):
            mine.require()


def test_the_end_of_a_broken_run_leaves_the_other_runs_lock(tmp_path):
    store = FolderStore(tmp_path)
    with hold(store):
        other = hold(store, break_lock=True)
        theirs = other.__enter__()
    theirs.require()
    other.__exit__(None, None, None)
    assert store.read(lock.KEY) is None
