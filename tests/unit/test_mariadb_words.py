"""What a failed script is quoted with: nothing that a statement holds."""

from onebaton.adapters.mariadb import harmless
from onebaton.adapters.process import Completed, ProgramError

FAILED = """\
some warning
--------------
INSERT INTO `user_pool` VALUES (0,'oneadmin','<USER><PASSWORD>secret</PASSWORD></USER>'),
(1,'serveradmin','more')
--------------

ERROR {number} (HY000) at line 189: {words} 'secret'
"""


def test_the_statement_that_failed_is_not_shown():
    shown = harmless(FAILED.format(number=1146, words="no such table"))
    assert shown == ["some warning", "ERROR 1146 (HY000) at line 189"]


def test_a_full_disk_is_named():
    by_number = harmless(FAILED.format(number=1114, words="The table is full"))
    by_words = harmless(FAILED.format(number=1005, words='(errno: 28 "No space left on device")'))
    by_innodb = harmless(FAILED.format(number=1005, words='(errno: 135 "No more room in record")'))
    assert by_number == ["some warning", "ERROR 1114 (HY000) at line 189", "its disk is full"]
    assert by_words == ["some warning", "ERROR 1005 (HY000) at line 189", "its disk is full"]
    assert by_innodb == by_words


def test_a_statement_without_an_error_behind_it_is_not_shown_either():
    cut_short = FAILED.partition("ERROR")[0]
    assert harmless(cut_short) == ["some warning"]
    assert harmless("zstd: unexpected end of file\n") == ["zstd: unexpected end of file"]


def test_no_failed_program_shows_a_statement():
    said = FAILED.format(number=1114, words="The table is full").replace(" 'secret'", "")
    for stderr in (said, FAILED.partition("ERROR")[0], said.partition("(1,")[0]):
        details = ProgramError(Completed(("bash",), 1, "", stderr)).details
        assert "some warning" in details
        assert not [line for line in details if "INSERT" in line or "PASSWORD" in line]
