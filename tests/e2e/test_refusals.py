"""What stands in the way is said once, clearly, with its status; and nothing is changed.

Each fault is a real one of the living zone, or of the machine, and is put right afterwards.
``pytest -rP`` shows the messages.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.conftest import NEW, NEXT_SCHEMA
from tests.e2e.lab import Lab
from tests.e2e.running import Outcome, run, wait_until

pytestmark = pytest.mark.e2e

REFUSED, UNAVAILABLE, CONFIG = 4, 69, 78
Fault = Callable[[Lab], contextlib.AbstractContextManager[object]]


@dataclass(frozen=True)
class Standing:
    """What a refused run must leave as it was.

    :param said: zone, term and log index by address; ``None`` where nobody answers. Nothing at
        all was written to a zone whose log index is the same.
    :param machines: ids, names and processes of the containers.
    :param units: the unit's state and the digest of ``/etc/one``, by address.
    :param runs: journals begun; ``None`` stands for a lock left behind.
    """

    said: dict[str, tuple[object, ...] | None]
    machines: str
    units: dict[str, str]
    runs: list[str] | None


def standing(lab: Lab, *, terms: bool) -> Standing:
    """How the zone and its machines stand.

    :param terms: leave them out where servers without a leader raise them by themselves.
    """
    said: dict[str, tuple[object, ...] | None] = {}
    units = {}
    for address in lab.running():
        raft = lab.raft(address)
        if raft is None:
            said[address] = None
        else:
            zone = lab.call(lab.endpoint(address), "one.zone.info", 0, False)
            said[address] = (zone, raft["TERM"] if terms else None, raft["LOG_INDEX"])
        units[address] = lab.ssh(
            address,
            "systemctl show opennebula -p ActiveState -p UnitFileState -p MainPID; "
            "find /etc/one -type f | sort | xargs sha256sum | sha256sum",
        )
    machines = run(
        ["podman", "ps", "--all", "--filter", f"label=onebaton.cluster={lab.name}",
         "--format", "{{.ID}} {{.Names}} {{.Pid}}"],
    ).out  # fmt: skip
    state = lab.folder / "state"
    locked = (state / "lock.json").exists()
    runs = sorted(path.name for path in (state / "journal").iterdir())
    return Standing(said, machines, units, None if locked else runs)


def refused(
    lab: Lab, argv: list[str], *, terms: bool = True, env: dict[str, str] | None = None
) -> Outcome:
    """Run a command that must change nothing, and see that it did not."""
    before = standing(lab, terms=terms)
    outcome = run(argv, env=env)
    outcome.show(" ".join(argv[1:]))
    assert standing(lab, terms=terms) == before
    assert before.runs is not None
    return outcome


def expect(outcome: Outcome, status: int, *texts: str) -> None:
    """One error of this status, which says these things and what to do."""
    assert outcome.status == status, outcome.err
    assert outcome.err.count("error: ") == 1
    assert "→ " in outcome.err
    assert outcome.out == ""
    for text in texts:
        assert text in outcome.err


def follower(lab: Lab) -> str:
    """Address of one follower."""
    leader = lab.leader()
    return next(address for address in lab.running() if address != leader)


@contextlib.contextmanager
def two_of_three_stopped(lab: Lab) -> Iterator[None]:
    """The leader and one follower are stopped: nobody can be elected."""
    stopped = [lab.leader(), follower(lab)]
    for address in reversed(stopped):
        lab.ssh(address, "systemctl stop opennebula")
    try:
        yield
    finally:
        for address in stopped:
            lab.ssh(address, "systemctl reset-failed; systemctl start opennebula")


@contextlib.contextmanager
def follower_that_cannot_store(lab: Lab) -> Iterator[None]:
    """It hears the leader and follows, and its log stands still."""
    address = follower(lab)
    wait_until(
        "everything logged to be applied",
        lambda: (
            lab.ssh(
                address,
                "mariadb -N opennebula -e \"SELECT COUNT(*) FROM logdb WHERE applied = '0'\"",
            ).strip()
            == "0"
        ),
        timeout_s=30,
    )
    lab.ssh(address, "mariadb -e 'SET GLOBAL read_only = 1'")
    ids = []
    try:
        for number in range(40):
            ids.append(  # noqa: PERF401 - those that were made must be removed
                lab.call(
                    lab.vip,
                    "one.document.allocate",
                    f"<TEMPLATE><NAME>lag-{number}</NAME></TEMPLATE>",
                    999,
                )
            )
        yield
    finally:
        lab.ssh(address, "mariadb -e 'SET GLOBAL read_only = 0'")
        for number in ids:
            lab.call(lab.vip, "one.document.delete", number)


@contextlib.contextmanager
def follower_that_hangs(lab: Lab) -> Iterator[None]:
    """It accepts connections and answers nothing: unknown, and not down."""
    address = follower(lab)
    lab.ssh(address, "systemctl kill --signal=SIGSTOP opennebula")
    try:
        yield
    finally:
        lab.ssh(address, "systemctl kill --signal=SIGCONT opennebula")


@contextlib.contextmanager
def disabled(lab: Lab) -> Iterator[None]:
    """The operator has disabled the zone."""
    lab.call(lab.vip, "one.zone.enable", 0, False)
    try:
        wait_until(
            "all servers to know",
            lambda: all(
                "<STATE>1</STATE>" in lab.call(lab.endpoint(address), "one.zone.info", 0, False)
                for address in lab.running()
            ),
            timeout_s=30,
        )
        yield
    finally:
        lab.call(lab.vip, "one.zone.enable", 0, True)


@contextlib.contextmanager
def federated(lab: Lab) -> Iterator[None]:
    """The leader is the master of a federation.

    One follower is told so and made to win the next election, as a hand-over does it.
    """
    chosen, old = follower(lab), lab.leader()
    conf = "/etc/one/oned.conf"
    restart = "systemctl reset-failed; systemctl restart opennebula"
    lab.ssh(
        chosen,
        f'cp -p {conf} {conf}.before && sed -i -E \'s/(MODE *= *)"STANDALONE"/\\1"MASTER"/; '
        f"s/(ELECTION_TIMEOUT_MS *= *)[0-9]+/\\11000/' {conf} && grep -q MASTER {conf}; {restart}",
    )
    try:
        term = lab.raft(old)["TERM"]
        wait_until(
            "the follower to follow again",
            lambda: (lab.raft(chosen) or {}).get("TERM") == term,
            timeout_s=30,
        )
        lab.ssh(old, restart)
        wait_until("the chosen one to lead", lambda: lab.leader() == chosen, timeout_s=60)
        yield
    finally:
        lab.ssh(chosen, f"mv {conf}.before {conf}; {restart}")


@pytest.mark.parametrize(
    ("fault", "texts"),
    [
        pytest.param(disabled, ["the zone is disabled", "onezone enable 0"], id="disabled zone"),
        pytest.param(
            follower_that_cannot_store,
            ["records behind", "50 are allowed"],
            id="follower that lags",
        ),
        pytest.param(follower_that_hangs, ["is unknown", "did not answer"], id="follower hangs"),
        pytest.param(two_of_three_stopped, ["the zone has no leader"], id="no leader"),
        pytest.param(federated, ["the zone is federated", "MODE is MASTER"], id="federated zone"),
    ],
)
def test_a_zone_that_must_be_left_alone(zone: Lab, fault: Fault, texts: list[str]):
    with fault(zone):
        outcome = refused(zone, zone.command("rollout"), terms=fault is not two_of_three_stopped)
        expect(outcome, REFUSED, *texts)


def test_another_schema_has_to_be_rehearsed(zone: Lab):
    outcome = refused(zone, zone.command("rollout", "--version", NEXT_SCHEMA))
    again = f"onebaton rehearse --version {NEXT_SCHEMA}"
    expect(outcome, REFUSED, "was never rehearsed", "6.10.0", "7.0.0", again)


def test_a_version_that_was_never_baked(zone: Lab):
    outcome = refused(zone, zone.command("rollout", "--version", "6.10.4"))
    expect(outcome, REFUSED, "no image of OpenNebula 6.10.4 was baked", "onebaton bake")


def test_a_wrong_password(zone: Lab):
    (zone.folder / "wrong_password").write_text("not-the-password\n")
    config = zone.variant("wrong-password", ("file: oneadmin_password", "file: wrong_password"))
    outcome = refused(zone, zone.command("rollout", config=config))
    expect(outcome, REFUSED, "password")
    assert "not-the-password" not in outcome.err


def test_a_zone_that_is_not_where_the_configuration_says(zone: Lab):
    # The zone's name is another one, too: its network must not be mistaken for this one's.
    config = zone.variant(
        "elsewhere", (zone.net, "10.201.12"), (f"name: {zone.name}", "name: elsewhere")
    )
    for command in ("status", "rollout"):
        outcome = refused(zone, zone.command(command, config=config))
        expect(outcome, UNAVAILABLE, "the zone is unreachable")


def test_the_network_of_a_living_zone_is_not_changed(zone: Lab):
    config = zone.variant("other-subnet", (zone.net, "10.201.12"))
    outcome = refused(zone, zone.command("rollout", config=config))
    assert outcome.status in (REFUSED, UNAVAILABLE), outcome.err
    assert outcome.err.count("error: ") == 1


def path_without(folder: Path, *programs: str) -> dict[str, str]:
    """The environment, with a PATH that has everything but these programs."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            link = folder / program.name
            if program.name not in programs and not link.is_symlink():
                link.symlink_to(program.resolve())
    return {**os.environ, "PATH": str(folder)}


@pytest.mark.parametrize(
    ("program", "words"),
    [
        pytest.param("packer", ["bake", "--force"], id="packer"),
        pytest.param("terraform", ["rollout"], id="terraform"),
        pytest.param("podman", ["rollout"], id="podman"),
        pytest.param("podman", ["status"], id="podman for status"),
        pytest.param("ssh", ["status"], id="ssh"),
    ],
)
def test_a_missing_program(zone: Lab, tmp_path: Path, program: str, words: list[str]):
    outcome = refused(zone, zone.command(*words), env=path_without(tmp_path / "bin", program))
    expect(outcome, UNAVAILABLE, program, "PATH")


def test_a_repository_that_is_not_there(zone: Lab, tmp_path: Path):
    text = (zone.folder / "cluster.yaml").read_text()
    url = next(line for line in text.splitlines() if line.strip().startswith("url:"))
    config = zone.variant("no-repository", (url, f"    url: {tmp_path / 'nothing'}"))
    outcome = refused(zone, zone.command("bake", config=config))
    expect(outcome, CONFIG, "nothing")


def test_a_version_that_the_repository_does_not_hold(zone: Lab):
    outcome = refused(zone, zone.command("bake", "--version", "6.99.0"))
    expect(outcome, CONFIG, "6.99.0", NEW)
