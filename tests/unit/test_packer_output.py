"""Packer's machine-readable output, as version 1.6.6 prints it."""

from tests.fakes.reporter import ListReporter

from onebaton.adapters.packer import BuildLog, Message, PackerVersion, parse_line

FAILED = r"""
1795358919,,ui,say,==> docker.node: Provisioning with shell script: ./provision/30-node.sh
1795358919,,ui,message,    docker.node: ## files and units
1795358920,,ui,error,==> docker.node: Removed "/etc/systemd/system/apt-daily.timer".
1795358920,,ui,say,==> docker.node: Provisioning with shell script: ./scripts/00-mine.sh
1795358921,,ui,message,    docker.node: one%!(PACKER_COMMA) two\n    docker.node: sh: three
1795358921,,ui,error,==> docker.node: E: Unable to locate package nosuchpackage
1795358921,,ui,say,==> docker.node: Provisioning step had errors: Running the cleanup provisioner
1795358921,,ui,say,==> docker.node: Killing the container: 16f13e34
1795358921,,ui,error,Build 'docker.node' errored after 9 seconds: Script exited with non-zero
1795358921,,error-count,1
1795358921,,ui,error,\n==> Some builds didn't complete successfully and had errors:
1795358921,,ui,say,\n==> Builds finished but no artifacts were created.
""".strip().splitlines()


def _fed(lines: list[str]) -> tuple[BuildLog, ListReporter]:
    reporter = ListReporter()
    log = BuildLog(reporter)
    for line in lines:
        log.feed(line)
    return log, reporter


def test_a_line_is_taken_apart_and_unescaped():
    line = r"1795358921,docker.node,ui,message,a%!(PACKER_COMMA) b\nc"
    assert parse_line(line) == Message("docker.node", "ui", ("message", "a, b\nc"))
    assert parse_line("1795358921,,error-count,1") == Message("", "error-count", ("1",))


def test_a_line_of_another_kind_is_none():
    assert parse_line("panic: runtime error, somewhere, here, too") is None
    assert parse_line("") is None


def test_milestones_stay_and_the_rest_is_progress():
    _, reporter = _fed(FAILED)
    assert reporter.notes == ["files and units"]
    assert "one, two" in reporter.waits
    assert "sh: three" in reporter.waits


def test_a_failure_shows_the_script_that_failed_and_not_the_clearing_up():
    log, _ = _fed(FAILED)
    assert log.last_meaningful == (
        "Provisioning with shell script: ./scripts/00-mine.sh",
        "one, two",
        "sh: three",
        "E: Unable to locate package nosuchpackage",
    )


def test_of_a_long_script_its_name_and_its_last_words_are_shown():
    lines = ["1,,ui,say,==> docker.node: Provisioning with shell script: ./scripts/00-long.sh"]
    lines += [f"1,,ui,message,    docker.node: line {number}" for number in range(100)]
    log, _ = _fed(lines)
    assert log.last_meaningful[0].endswith("00-long.sh")
    assert log.last_meaningful[-1] == "line 99"
    assert len(log.last_meaningful) == 15


def test_what_the_last_look_found_is_kept_apart():
    log, _ = _fed(["1,,ui,message,    docker.node: ## found: /etc/one/x_auth looks like\\n"])
    assert log.findings == ("/etc/one/x_auth looks like",)


def test_words_of_somebody_else_are_not_lost():
    log, _ = _fed(["panic: out of memory"])
    assert log.last_meaningful == ("panic: out of memory",)


def test_versions_compare_as_numbers():
    assert not PackerVersion((1, 6, 6)).has_plugins
    assert PackerVersion((1, 10, 0)).has_plugins
    assert PackerVersion((2, 0, 0)).has_plugins
    assert str(PackerVersion((1, 10, 0))) == "1.10.0"
