"""The machines in memory keep the rules that the real adapter keeps."""

import pytest
from tests.fakes.frontends import FakeDatabase, FakeFrontEnds, FakeMachine

from onebaton.errors import RefusedError, StepFailedError, UnavailableError
from onebaton.model import Host, LogPosition, Schema
from onebaton.ports import FrontEnds

OLD, NEW = Host("old", "10.0.0.1"), Host("new", "10.0.0.2")
SCHEMA = Schema("6.10.0", "6.10.0")


def _document(number: int) -> tuple[str, str, str]:
    return ("document_pool", str(number), "x")


@pytest.fixture
def machines() -> dict[str, FakeMachine]:
    database = FakeDatabase(SCHEMA)
    for number in range(5):
        database.append(1, _document(number))
    old = FakeMachine(database=database, secrets="s", active=True, server_id=0)
    return {"old": old, "new": FakeMachine()}


@pytest.fixture
def fake(machines: dict[str, FakeMachine]) -> FrontEnds:
    return FakeFrontEnds(machines)


def test_shipping_begins_after_the_last_applied_record(fake, machines):
    source = machines["old"].database
    source.append(1, _document(5), apply=False)
    fake.seed(OLD, [NEW], timeout_s=1)
    assert fake.log_position(NEW) == LogPosition(5, 4, 1)
    source.apply_to(5)
    source.append(1, _document(6))
    assert fake.ship_log(OLD, NEW, up_to=5) == 1
    assert fake.ship_log(OLD, NEW) == 1
    assert fake.table_checksums(NEW) == fake.table_checksums(OLD)


def test_what_the_real_one_refuses_is_refused(fake, machines):
    with pytest.raises(RefusedError, match="oned runs on old"):
        fake.seed(OLD, [OLD], timeout_s=1)
    fake.seed(OLD, [NEW], timeout_s=1)
    source = machines["old"].database
    for number in range(5, 9):
        source.append(1, _document(number))
    machines["new"].active = True
    with pytest.raises(RefusedError, match="oned runs on new"):
        fake.ship_log(OLD, NEW)
    machines["new"].active = False
    source.purge(below=7)
    with pytest.raises(RefusedError, match="fell out of the log window"):
        fake.ship_log(OLD, NEW)
    with pytest.raises(RefusedError, match="tables already"):
        fake.create_database(OLD)
    machines["new"].requires = Schema("7.0.0", "7.0.0")
    with pytest.raises(StepFailedError, match="ended instead of starting"):
        fake.start(NEW, timeout_s=1)
    with pytest.raises(UnavailableError):
        fake.facts(Host("gone", "10.0.0.9"))


def test_a_start_learns_the_servers_that_were_configured_for_it(fake, machines):
    fake.seed(OLD, [NEW], timeout_s=1)
    fake.configure(NEW, server_id=1, election_timeout_ms=1000, server_ids=[0, 1])
    assert fake.facts(NEW).known_servers == frozenset()
    fake.start(NEW, timeout_s=1)
    assert fake.facts(NEW).known_servers == {0, 1}
    machines["new"].holds_vip = True
    fake.cut_off_leader(NEW, drain_s=0)
    facts = fake.facts(NEW)
    assert (facts.oned_active, facts.oned_masked, facts.holds_vip) == (False, True, False)
