"""A server of the zone holds other data than the zone: with a trace in its log, and without."""

import time

import pytest
from tests.faults.diverged import diverged, heal_diverged
from tests.faults.trial import FAILED, REFUSED, Trial

pytestmark = [pytest.mark.faults]

#: Long enough for records to be applied after the one in question.
WRITTEN_S = 4.0


def change_alone(zone: Trial, address: str, sql: str) -> None:
    """Change one server's database while its ``oned`` is away."""
    zone.lab.ssh(
        address,
        f'systemctl stop opennebula\nmariadb opennebula -e "{sql}"\nsystemctl start opennebula',
    )
    zone.back(address)


def test_a_server_that_passed_over_a_record(zone: Trial):
    """As the facts of ``test_traps.py`` leave it: named, not copied from, and seeded anew."""
    changed = zone.follower()
    containers = zone.lab.containers()
    with zone.writes() as writes:
        time.sleep(WRITTEN_S)
    change_alone(
        zone,
        changed,
        "SET @i = (SELECT MAX(log_index) - 20 FROM logdb); "
        "UPDATE logdb SET applied = '0', timestamp = 0 WHERE log_index = @i; "
        "UPDATE document_pool SET name = 'unconfirmed' ORDER BY oid DESC LIMIT 1",
    )
    assert list(diverged(zone.lab).values()) == [changed]
    zone.rollout_fails(REFUSED, "are not the zone's", "onebaton unpark")
    assert zone.lab.containers() == containers
    heal_diverged(zone.lab)
    zone.require_unchanged(writes, containers)


def test_a_follower_that_differs_without_a_trace(zone: Trial):
    """Whatever it is that differs: nothing is copied from it."""
    with zone.writes() as writes:
        time.sleep(WRITTEN_S)
    source = zone.lab.addresses(zone.generation)[0]
    if source == zone.leader():
        source = zone.lab.addresses(zone.generation)[1]
    change_alone(
        zone, source, "UPDATE document_pool SET name = 'another' ORDER BY oid DESC LIMIT 1"
    )
    told = zone.rollout_fails(FAILED, "differ at log index", "document_pool", "Nothing was copied")
    name = zone.lab.name_of(source)
    assert f"`onebaton park {name}`, drop its database, then `onebaton unpark {name}`" in told.err
    zone.lab.onebaton("park", name)
    zone.lab.ssh(source, "mariadb -e 'DROP DATABASE opennebula'")
    zone.lab.onebaton("unpark", name)
    zone.lab.require_none_lost(zone.lab.addresses(zone.generation), writes.traffic)
    zone.rollout_ends()
    zone.require_end(writes)
