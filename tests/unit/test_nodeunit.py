"""What is told of a start that failed."""

from onebaton.adapters.nodeunit import telling

LOG = """\
Sun Nov 22 14:56:34 2026 [Z0][ONE][I]: Starting OpenNebula 6.10.0
DB=BACKEND=mysql,DB_NAME=opennebula,PASSWD=hunter2,SERVER=localhost
Sun Nov 22 14:56:34 2026 [Z0][ONE][E]: SQL command was: UPDATE user_pool SET body='hunter2'
Sun Nov 22 14:56:35 2026 [Z0][ONE][E]: Giving up connecting, PASSWD = hunter2
Sun Nov 22 14:56:36 2026 [Z0][ONE][I]: All modules finalized, exiting.
"""


def test_errors_are_told_first_and_secrets_never():
    told = telling(LOG)
    assert len(told) == 2
    assert "Giving up" in told[1]
    assert "hunter2" not in "".join(told)


def test_without_errors_the_last_lines_are_told_without_secrets():
    told = telling("\n".join(line for line in LOG.splitlines() if "[E]" not in line))
    assert told[-1].endswith("exiting.")
    assert "DB_NAME=opennebula" in told[1]
    assert "SERVER=localhost" in told[1]
    assert "hunter2" not in "".join(told)


def test_a_password_with_the_signs_of_the_dump_is_not_told_either():
    told = telling("DB=BACKEND=mysql,PASSWD=hun,ter]2,SERVER=localhost")
    assert told == ["DB=BACKEND=mysql,PASSWD=***,SERVER=localhost"]
