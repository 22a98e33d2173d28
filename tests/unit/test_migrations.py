"""What goes to the node of a rehearsal, and what is read of its answers."""

import pytest

from onebaton.adapters import copyscripts, migrations, onedb, onedconf
from onebaton.errors import StepFailedError

CONF = """\
# kept
LOG = [ SYSTEM = "file" ]
DB = [ BACKEND = "mysql", PASSWD = "secret", DB_NAME = "opennebula" ]
RAFT_LEADER_HOOK = [
    COMMAND   = "raft/vip.sh",
    ARGUMENTS = "leader eth0 10.0.0.100/24"
]
RAFT_FOLLOWER_HOOK = [ COMMAND = "raft/vip.sh", ARGUMENTS = "follower eth0 10.0.0.100/24" ]
RAFT = [ ELECTION_TIMEOUT_MS = 5000 ]
"""


def test_on_the_copy_oned_knows_the_copy_and_no_virtual_ip():
    text = migrations.on_the_copy(CONF, "opennebula_rehearsal")

    statements = onedconf.parse(text, file="oned.conf")
    assert [statement.name for statement in statements] == ["LOG", "DB", "RAFT"]
    database = onedconf.last(statements, "DB")
    assert database is not None
    assert database.attribute("DB_NAME") == "opennebula_rehearsal"
    assert database.attribute("PASSWD") == "secret"
    assert "10.0.0.100" not in text
    assert "# kept" in text


@pytest.mark.parametrize("name", ["opennebula", "x" * 64, "x" * 54 + "_rehearsal"])
def test_the_copy_is_never_the_database_itself(name):
    copy = migrations.copy_name(name)
    assert copy != name
    assert len(copy) <= 64


def test_objects_are_counted_and_quotas_are_not():
    pool = "<USER_POOL><USER/><QUOTAS/><USER/><DEFAULT_USER_QUOTAS/></USER_POOL>"
    assert migrations.objects_in(pool) == 2
    assert migrations.objects_in("<VM_POOL></VM_POOL>") == 0


def test_a_run_of_onedb_is_read_with_its_cost():
    run = onedb.onedb_run("status=2\nms=1234\npeak_kib=2048\n\nfirst\n  second \n\n")
    assert (run.status, run.seconds, run.peak_rss_bytes) == (2, 1.234, 2048 * 1024)
    assert run.lines == ("first", "  second")


def test_a_run_that_was_over_before_anybody_looked_has_no_peak():
    assert onedb.onedb_run("status=0\nms=3\npeak_kib=\n").peak_rss_bytes == 0


def test_a_run_without_a_report_is_a_failure():
    with pytest.raises(StepFailedError):
        onedb.onedb_run("")


def test_no_script_names_a_password():
    script = copyscripts.onedb_script("upgrade -v", copy="x_rehearsal", user="oneadmin", port=2633)
    assert "export ONE_DB_PASSWORD" in script
    command = next(line for line in script.splitlines() if "onedb upgrade" in line)
    assert "PASSWORD" not in command
    assert " -p" not in command
    assert "ONE_XMLRPC=http://localhost:2633/RPC2" in script
