"""What a node prints of itself, and what is made of it."""

import base64

import pytest

from onebaton.adapters import nodefacts
from onebaton.errors import StepFailedError
from onebaton.model import Ahead, AheadStage, LogPosition, Schema

CONFIG = """FEDERATION = [
    MODE = "STANDALONE", ZONE_ID = 0, SERVER_ID = 4, MASTER_ONED = ""
]
RAFT = [ ELECTION_TIMEOUT_MS = 1000, LOG_RETENTION = 250000 ]
"""

LINES = {
    "ActiveState": "active",
    "LoadState": "loaded",
    "UnitFileState": "enabled",
    "retired": "no",
    "vip": "yes",
    "package": "installed 6.10.0-1",
    "secrets": "ab" * 32,
    "parked": "",
    "known": "0 1 4 ",
    "config": base64.b64encode(CONFIG.encode()).decode(),
    "free": "123456",
    "position": "17 15 3 0",
    "shared": "6.10.0",
    "local": "6.10.1",
}


def _parse(**changes: str | None):
    lines = {**LINES, **changes}
    output = "".join(f"{key}={value}\n" for key, value in lines.items() if value is not None)
    return nodefacts.parse(output, place="n1")


def test_a_serving_node():
    facts = _parse()
    assert facts.oned_active
    assert facts.oned_enabled
    assert not facts.oned_masked
    assert facts.holds_vip
    assert facts.server_id == 4
    assert facts.election_timeout_ms == 1000
    assert facts.package_version == "6.10.0-1"
    assert facts.database == LogPosition(last_index=17, last_applied=15, term=3)
    assert facts.schema == Schema(shared="6.10.0", local="6.10.1")
    assert facts.secret_digest == "ab" * 32
    assert facts.known_servers == {0, 1, 4}
    assert facts.disk_free_bytes == 123456
    assert facts.parked_at is None


def test_a_node_whose_log_passed_over_a_record():
    assert _parse(position="17 8 3 9").database == LogPosition(17, 8, 3, passed_over=9)


def test_a_parked_node():
    assert _parse(parked="1795370000.125").parked_at == 1795370000.125


def test_a_bare_machine():
    facts = _parse(
        ActiveState="inactive",
        LoadState="not-found",
        UnitFileState="",
        vip="no",
        package="",
        secrets="",
        known="",
        config="",
        position=None,
        shared=None,
        local=None,
    )
    assert not facts.oned_active
    assert not facts.holds_vip
    assert facts.server_id is None
    assert facts.package_version is None
    assert facts.database is None
    assert facts.schema is None
    assert facts.secret_digest is None
    assert facts.known_servers == frozenset()
    assert facts.election_timeout_ms is None


@pytest.mark.parametrize(
    ("state", "active"),
    [
        ("active", True),
        ("activating", True),
        ("deactivating", True),
        ("reloading", True),
        ("inactive", False),
        ("failed", False),
    ],
)
def test_whatever_may_still_run_counts_as_running(state, active):
    assert _parse(ActiveState=state).oned_active is active


def test_both_ways_of_masking_count():
    assert _parse(LoadState="masked").oned_masked
    assert _parse(retired="yes").oned_masked


def test_a_package_that_was_removed_is_not_installed():
    assert _parse(package="config-files 6.10.0-1").package_version is None


def test_a_node_without_a_copy_ahead():
    assert _parse().ahead is None


@pytest.mark.parametrize("stage", list(AheadStage))
def test_how_far_a_copy_ahead_is(stage):
    facts = _parse(ahead=stage.value, warm="21 20 3 0")
    assert facts.ahead == Ahead(stage, LogPosition(last_index=21, last_applied=20, term=3))
    # The node's own database is the migrated one.
    assert facts.database == LogPosition(last_index=17, last_applied=15, term=3)


def test_a_copy_that_is_just_being_set_aside_stands_nowhere():
    assert _parse(ahead="warm", warm="", position=None).ahead == Ahead(AheadStage.WARM, None)


def test_the_warm_database_is_asked_by_its_own_name():
    script = nodefacts.script(vip="10.0.0.100", database="n" * 64)
    assert f"sql {'n' * 59}_warm -e" in script


@pytest.mark.parametrize(
    "changes",
    [
        {"free": None},
        {"free": "much"},
        {"config": "%"},
        {"position": "1 2"},
        {"ahead": "elsewhere"},
        {"ahead": "held", "warm": "1 2"},
    ],
)
def test_what_cannot_be_understood_is_not_guessed(changes):
    with pytest.raises(StepFailedError, match="what n1 says of itself"):
        _parse(**changes)
