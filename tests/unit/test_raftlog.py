"""How log records are stored, and the statements that replay them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebaton.adapters.raftlog import NO_INDEX, Record, decode, encode, replay_script
from onebaton.errors import StepFailedError


def _record(sqlcmd: str, index: int = 7) -> Record:
    return Record(index=index, term=2, timestamp=1, fed_index=NO_INDEX, sqlcmd=sqlcmd)


@given(st.binary() | st.text().map(str.encode))
def test_any_sql_comes_back_as_it_was(sql):
    assert decode(encode(sql)) == sql


@given(st.text(min_size=1).map(str.encode))
def test_no_text_of_a_record_shows_in_the_script(sql):
    lines = replay_script([_record(encode(sql))], "utf8mb4").split("\n")
    # Whatever the SQL holds, a record is one line, and the only text in it is base64.
    statements = [line for line in lines if line.startswith("BEGIN NOT ATOMIC")]
    assert len(statements) == 1
    literals = re.findall(r"'([^']*)'", statements[0])
    assert literals == [encode(sql)]


def test_a_record_of_oned_itself_can_be_read():
    # zlib and base64 as oned's libraries make them, of the SQL "SELECT 1".
    assert decode("eJwLdvVxdQ5RMAQACh0CEg==") == b"SELECT 1"


@pytest.mark.parametrize("sqlcmd", ["%%%", "AAAA", "eJwLdvVxdQ5RMAQ="])
def test_damage_is_not_read(sqlcmd):
    with pytest.raises(ValueError, match="not base64"):
        decode(sqlcmd)


@pytest.mark.parametrize("sqlcmd", ["AAAA", "it's"])
def test_a_damaged_record_stops_the_replay_before_anything_is_sent(sqlcmd):
    with pytest.raises(StepFailedError, match="record 7 of the log is damaged"):
        replay_script([_record(encode(b"SELECT 1"), 6), _record(sqlcmd)], "utf8mb4")


def test_the_first_record_and_empty_ones_are_stored_and_not_run():
    script = replay_script([_record(encode(b"1763800000"), 0), _record("", 1)], "utf8mb4")
    assert "EXECUTE" not in script
    assert script.count("REPLACE INTO logdb") == 2
