"""Servers whose log passed over a record: told by name, and seeded anew as they are told to be.

A leader that is deposed may apply a write of its own that nobody confirmed, and then lacks the
confirmed one in its place (``test_traps.py`` shows how). Which of the faults leaves one behind is
a matter of milliseconds; none of them may leave one that nobody hears of.
"""

from tests.e2e.conftest import wait_whole
from tests.e2e.lab import LEADER, Lab
from tests.e2e.running import run, wait_until

REFUSED = 4


def diverged(lab: Lab) -> dict[str, str]:
    """Addresses by name of the zone's servers that passed over a record."""
    found = {}
    for name, endpoint in lab.servers().items():
        address = endpoint.removeprefix("http://").partition(":")[0]
        if address in lab.running() and lab.ssh(
            address,
            "mariadb -N opennebula -e 'SELECT 1 FROM logdb WHERE applied = 0 AND log_index < "
            "(SELECT MAX(log_index) FROM logdb WHERE applied = 1) LIMIT 1'",
        ):
            found[name] = address
    return found


def heal_diverged(lab: Lab) -> None:
    """Do what a refusal says of each of them.

    :raises AssertionError: if one is not named, or is still there afterwards.
    """
    there = diverged(lab)
    for name, address in there.items():
        told = run(lab.command("plan"))
        told.show(f"{name} passed over a record")
        assert told.status == REFUSED, told.err
        assert f"the data of {name} are not the zone's" in told.err
        if f"onebaton park {name}" not in told.err:
            lab.ssh(address, "systemctl stop opennebula")
            continue
        said = lab.raft(address)
        if said is not None and said["STATE"] == LEADER:
            lab.ssh(address, "systemctl restart opennebula")
            wait_until(
                "another server to lead",
                lambda gone=address: lab.leader() not in (None, gone),
                timeout_s=90,
                interval_s=0.5,
            )
            wait_whole(lab)
        lab.onebaton("park", name)
        lab.onebaton("unpark", name)
    if there:
        assert not diverged(lab)
