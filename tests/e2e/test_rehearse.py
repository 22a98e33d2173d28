"""A change of the schema on a copy: what it would cost is told, and the zone does not notice."""

import json
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import NEW, NEXT_SCHEMA, wait_whole
from tests.e2e.lab import Lab
from tests.e2e.running import Arguments, run, running

pytestmark = pytest.mark.e2e

REFUSED = 4
#: Type of documents that the vendor's migrator to 7.0 drops: neither 100 nor 101.
FOREIGN = 999
DOCUMENTS = 40
API = 2633


class Knocking:
    """Somebody who tries to reach an address all the time; whether it ever opened."""

    def __init__(self, address: str) -> None:
        self.opened = 0
        self.tried = 0
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._knock, daemon=True)

    def __enter__(self) -> "Knocking":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _knock(self) -> None:
        while not self._stop.wait(0.05):
            self.tried += 1
            try:
                with socket.create_connection((self._address, API), timeout=0.3):
                    self.opened += 1
            except OSError:
                continue


@pytest.fixture
def documented(zone: Lab) -> Iterator[Lab]:
    """The zone, with documents of somebody's own."""
    body = "<TEMPLATE><NAME>rehearsed-{}</NAME></TEMPLATE>"
    ids = [
        zone.call(zone.vip, "one.document.allocate", body.format(number), FOREIGN)
        for number in range(DOCUMENTS)
    ]
    wait_whole(zone)
    yield zone
    for number in ids:
        zone.call(zone.vip, "one.document.delete", number)


def standing(lab: Lab) -> dict[str, object]:
    """Production: nothing at all was written to a zone whose log index is the same."""
    seen: dict[str, object] = {"leader": lab.leader(), "servers": lab.servers()}
    for address in lab.addresses("a"):
        raft = lab.raft(address)
        assert raft is not None
        zone = lab.call(lab.endpoint(address), "one.zone.info", 0, False)
        seen[address] = (raft["STATE"], raft["TERM"], raft["LOG_INDEX"], zone)
    return seen


def database(lab: Lab, address: str, statement: str) -> str:
    """What a machine's MariaDB answers."""
    return lab.ssh(address, f'mariadb -N -e "{statement}"').strip()


def test_what_the_migrator_would_drop_is_found_and_the_zone_does_not_notice(documented: Lab):
    lab = documented
    before, machines = standing(lab), lab.containers()
    node = lab.addresses("b")[0]
    documents = database(lab, lab.leader(), "SELECT COUNT(*) FROM opennebula.document_pool")

    with Arguments() as arguments, Knocking(node) as knocking:
        outcome = run(lab.command("rehearse", "--version", NEXT_SCHEMA, "--json"))

    outcome.show("rehearse")
    assert outcome.status == REFUSED
    assert f"document_pool: {documents} → 0" in outcome.err
    assert "--accept-loss document_pool" in outcome.err
    assert standing(lab) == before
    assert lab.containers() == machines
    assert knocking.tried > 20
    assert knocking.opened == 0
    assert arguments.holding((lab.folder / "oneadmin_password").read_text().strip()) == []

    told = json.loads(outcome.out)
    assert json.loads((lab.folder / told["kept_as"]).read_text()) == told
    assert (told["verdict"], told["from_schema"], told["to_schema"]) == (
        "cut-over",
        "6.10.0",
        "7.0.0",
    )
    tables = {table["name"]: table for table in told["tables"]}
    assert tables["document_pool"]["rows_before"] == int(documents) >= DOCUMENTS
    assert tables["document_pool"]["rows_after"] == 0
    assert tables["user_pool"]["change"] == "left alone"
    assert tables["plan_pool"]["change"] == "new"
    pools = dict(told["pools"])
    assert pools["user_pool"] == tables["user_pool"]["rows_after"] > 0
    assert len(pools) >= 15
    assert told["notes"] == []
    assert told["peak_rss_bytes"] > 4 * 1024 * 1024
    parts = {part["what"]: part["seconds"] for part in told["forecast"]}
    assert parts["start of the next oned"] > 0.5
    assert told["forecast_s"] == pytest.approx(sum(parts.values()), abs=0.1)
    assert told["log_index"] == int(before[lab.leader()][2])  # type: ignore[index]


def test_a_killed_rehearsal_is_cleared_and_a_loss_accepted_by_name_passes(documented: Lab):
    lab = documented
    before, machines = standing(lab), lab.containers()
    node = lab.addresses("b")[0]
    command = lab.command("rehearse", "--version", NEXT_SCHEMA, "--accept-loss", "document_pool")
    with running([*command, "--keep"]) as first:
        first.wait_for_line("start of the next oned")
        first.signal(signal.SIGKILL)
        first.finish()
    # What is left runs behind its fence, on a database of its own, and is no member.
    assert standing(lab) == before
    out = "timeout 1 bash -c 'exec 3<>/dev/tcp/{}/{}' && echo open || echo shut"
    assert lab.ssh(node, out.format(lab.leader(), API)).strip() == "shut"
    assert "opennebula_rehearsal" in database(lab, node, "SHOW DATABASES")

    with Arguments() as arguments:
        kept = run([*command, "--keep"])

    kept.show("rehearse after a kill")
    assert kept.status == 0, kept.err
    assert "cleared what an earlier rehearsal left" in kept.err
    assert "rehearsal of zone" in kept.out
    password = lab.ssh(node, "cat /var/lib/onebaton/db-password").strip()
    assert password
    assert arguments.holding(password) == []
    assert "opennebula_rehearsal" not in database(lab, node, "SHOW DATABASES")
    assert "opennebula_rehearsal" not in database(lab, node, "SHOW GRANTS FOR oneadmin@localhost")
    assert database(lab, node, "SELECT version FROM opennebula.local_db_versioning") == "6.10.0"
    unit = lab.ssh(node, "systemctl show opennebula -p ActiveState -p UnitFileState --value")
    assert unit.split() == ["inactive", "masked"]
    assert lab.ssh(node, "nft list ruleset").strip() == ""
    assert password not in kept.out + kept.err

    # Another image's rehearsal needs the place of the node that was kept.
    same = run(lab.command("rehearse", "--version", NEW))
    same.show("rehearse of the same schema")
    assert same.status == 0, same.err
    assert "roll: schema 6.10.0 → 6.10.0" in same.out
    assert lab.containers() == machines
    assert standing(lab) == before
