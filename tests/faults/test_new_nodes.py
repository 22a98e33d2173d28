"""New machines with faults: found before they have any part in the zone."""

import contextlib
import shutil
import signal
from pathlib import Path

import pytest
from tests.e2e.lab import INTERRUPTED
from tests.e2e.running import run
from tests.faults.faults import (
    HANGING_BOOT,
    NO_MARIADB,
    api_closed,
    change_row,
    change_secret,
    disk_full,
    drop_database,
    machines_that_fail,
    machines_with,
    read_only,
    remove_machine,
)
from tests.faults.trial import (
    DEADLINE,
    FAILED,
    UNAVAILABLE,
    Trial,
    told,
    with_path,
)

pytestmark = [pytest.mark.faults]


@pytest.mark.parametrize(
    ("units", "text"),
    [
        pytest.param(HANGING_BOOT, "does not answer over ssh", id="does not boot"),
        pytest.param(NO_MARIADB, "MariaDB does not answer", id="boots without MariaDB"),
    ],
)
def test_a_new_node_that_is_not_ready(
    zone: Trial, tmp_path: Path, units: dict[str, str], text: str
):
    env = with_path(machines_with(tmp_path, zone.node(2), units))
    with zone.writes() as writes:
        zone.rollout_fails(DEADLINE, f"{zone.node(2)} to be ready", text, env=env)
        assert len(zone.lab.servers()) == zone.lab.size
        remove_machine(zone.lab, zone.new(2))
        zone.rollout_ends()
    zone.require_end(writes)


def test_terraform_fails_half_way(zone: Trial, tmp_path: Path):
    env = with_path(machines_that_fail(tmp_path, zone.node(2)))
    with zone.writes() as writes:
        zone.rollout_fails(FAILED, "address is already in use", zone.node(2), env=env)
        made = set(zone.lab.containers())
        assert {zone.node(1), zone.node(3)} <= made
        assert zone.node(2) not in made
        zone.rollout_ends()
    zone.require_end(writes)


def test_a_new_node_with_a_full_disk(zone: Trial):
    with zone.writes() as writes:
        with contextlib.ExitStack() as fault, zone.rollout() as command:
            with command.frozen_at("started", "seed:"):
                fault.enter_context(disk_full(zone.lab, zone.new(2)))
            told(command.finish(), FAILED, zone.node(2), "disk is full")
        assert len(zone.lab.servers()) == zone.lab.size
        zone.rollout_ends()
    zone.require_end(writes)


def test_a_new_node_with_another_secret(zone: Trial):
    with zone.writes() as writes:
        with zone.rollout() as command:
            with command.frozen_at("started", f"join:{zone.node(1)}"):
                change_secret(zone.lab, zone.new(1))
            told(command.finish(), FAILED, "secrets", zone.node(1), "seeds the node anew")
        assert len(zone.lab.servers()) == zone.lab.size
        zone.rollout_ends()
    zone.require_end(writes)


def test_a_new_node_that_the_leader_does_not_reach(zone: Trial):
    """Started all the same, it would stand for election and topple the leader."""
    leader = zone.leader()
    with zone.writes() as writes:
        with contextlib.ExitStack() as fault, zone.rollout() as command:
            with command.frozen_at("started", f"join:{zone.node(1)}"):
                fault.enter_context(api_closed(zone.lab, zone.new(1), leader))
            told(command.finish(), FAILED, zone.node(1), "do not reach each other", "port 2633")
            assert zone.leader() == leader
        assert len(zone.lab.servers()) == zone.lab.size
        zone.rollout_ends()
    zone.require_end(writes)


def test_a_new_node_that_fails_its_checksum(zone: Trial):
    with zone.writes() as writes:
        with zone.rollout() as command:
            with command.frozen_at("started", f"join:{zone.node(1)}"):
                change_row(zone.lab, zone.new(1))
            told(command.finish(), FAILED, "seeded wrongly", "document_pool", "Drop its database")
        assert len(zone.lab.servers()) == zone.lab.size
        # Run again without that, it is found again: no harm comes of haste.
        zone.rollout_fails(FAILED, "seeded wrongly", "document_pool")
        drop_database(zone.lab, zone.new(1))
        zone.rollout_ends()
    zone.require_end(writes)


def test_the_state_of_terraform_is_lost(zone: Trial):
    """Machines that live are taken over and not made anew: one may be a leader."""
    with zone.writes() as writes:
        with zone.rollout_reaching("done", f"join:{zone.node(1)}") as command:
            with command.frozen():
                pass
            command.signal(signal.SIGINT)
            assert command.finish().status == INTERRUPTED
        before = instances(zone)
        shutil.rmtree(zone.lab.folder / "state" / "terraform")
        zone.rollout_ends()
        after = instances(zone)
        kept = {zone.node(number) for number in (1, 2, 3)}
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    zone.require_end(writes)


def test_the_state_folder_cannot_be_written_any_more(zone: Trial):
    """Not a step is taken that cannot be written down."""
    with zone.writes() as writes:
        with contextlib.ExitStack() as fault, zone.rollout() as command:
            with command.frozen_at("started", f"join:{zone.node(1)}"):
                fault.enter_context(read_only(zone.lab.folder / "state"))
            told(command.finish(), UNAVAILABLE, "state/journal/", "Read-only file system")
        assert len(zone.lab.servers()) == zone.lab.size + 1
        zone.rollout_ends()
    zone.require_end(writes)


def instances(zone: Trial) -> dict[str, str]:
    """Ids of the cluster's containers by name."""
    shown = run(
        ["podman", "ps", "--all", "--no-trunc", "--filter",
         f"label=onebaton.cluster={zone.lab.name}", "--format", "{{.Names}} {{.ID}}"]
    )  # fmt: skip
    return dict(line.split() for line in shown.out.splitlines())
