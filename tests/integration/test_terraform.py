"""Terraform and podman for real: what goes wrong half-way, and what the next run makes of it."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract import terraform_provider
from tests.integration.podman_lab import KEY, PodmanLab, podman_lab

from onebaton.adapters.parts import part
from onebaton.errors import LockedError, RefusedError, StepFailedError
from onebaton.model import NodeSpec, NodeState

pytestmark = pytest.mark.integration

MODULES = sorted({path.parent for path in part("terraform").rglob("*.tf")})


@pytest.fixture(scope="module")
def made_lab(tmp_path_factory) -> Iterator[PodmanLab]:
    with podman_lab(tmp_path_factory.mktemp("terraform"), 2) as lab:
        yield lab


@pytest.fixture
def lab(made_lab: PodmanLab) -> Iterator[PodmanLab]:
    yield made_lab
    made_lab.platform.apply([])
    assert made_lab.leftovers() == []


def states(lab: PodmanLab) -> dict[str, NodeState]:
    return {node.spec.name: node.state for node in lab.platform.nodes()}


def instances(lab: PodmanLab) -> dict[str, str]:
    return {node.spec.name: node.instance for node in lab.platform.nodes()}


def broken_module(folder: Path, line: str, *, before: str, node: str) -> Path:
    """The module with a line more in its create script, for one node only."""
    module = folder / "module"
    shutil.copytree(part("terraform", "podman"), module)
    script = module / "scripts" / "create-node.sh"
    text = script.read_text()
    assert text.count(before) == 1
    script.write_text(text.replace(before, f'[ "$NODE" != {node} ] || {line}\n{before}'))
    return module


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_module_is_valid_and_formatted(module: Path, tmp_path: Path):
    why_not = terraform_provider.problem() if module.name == "aws" else None
    if why_not is not None:
        pytest.skip(f"no AWS provider for Terraform: {why_not}")
    copy = tmp_path / "module"
    shutil.copytree(module, copy)
    for command in (
        ["init", "-input=false", "-backend=false"],
        ["validate"],
        ["fmt", "-check", "-diff", "-recursive"],
    ):
        done = subprocess.run(
            ["terraform", *command],
            check=False,
            cwd=copy,
            env={**os.environ, **terraform_provider.aws_provider().env},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_node_gets_its_name_key_address_and_limits(lab: PodmanLab):
    spec = lab.spec(1)
    lab.platform.apply([spec])
    (node,) = lab.platform.nodes()
    first_boot = lab.ask("exec", spec.name, "cat", "/etc/onebaton/first-boot.env")
    assert first_boot == f"NODE_NAME={spec.name}"
    assert lab.ask("exec", spec.name, "cat", "/etc/onebaton/authorized_keys") == KEY
    shown = json.loads(lab.ask("container", "inspect", spec.name))[0]
    assert shown["NetworkSettings"]["Networks"][lab.network]["IPAddress"] == spec.address
    assert shown["Config"]["Hostname"] == spec.name
    assert {"CAP_NET_ADMIN", "CAP_NET_RAW"} <= set(shown["EffectiveCaps"])
    assert shown["HostConfig"]["Memory"] == (256 * 2**20 if lab.podman.host.can_limit_memory else 0)
    assert shown["Config"]["Labels"]["onebaton.instance"] == node.instance


def test_a_node_that_cannot_start_is_named_and_the_next_run_repairs_it(lab: PodmanLab, tmp_path):
    good, bad = lab.spec(1), lab.spec(2)
    module = broken_module(
        tmp_path, "{ echo 'disk full' >&2; exit 7; }", before="made=$(", node=bad.name
    )
    with pytest.raises(StepFailedError) as caught:
        lab.new_platform(module).apply([good, bad])
    told = "\n".join(caught.value.details)
    assert bad.name in told
    assert "disk full" in told
    assert caught.value.resolution
    assert states(lab) == {good.name: NodeState.RUNNING, bad.name: NodeState.VANISHED}
    before = instances(lab)[good.name]
    lab.platform.apply([good, bad])
    assert states(lab) == {good.name: NodeState.RUNNING, bad.name: NodeState.RUNNING}
    assert instances(lab)[good.name] == before


def test_a_failed_node_that_is_no_longer_wanted_leaves_nothing(lab: PodmanLab, tmp_path):
    spec = lab.spec(1)
    # The container is made and its removal is missed, as on a power failure.
    module = broken_module(
        tmp_path, "{ trap - EXIT; exit 7; }", before='"$podman" start', node=spec.name
    )
    with pytest.raises(StepFailedError):
        lab.new_platform(module).apply([spec])
    assert spec.name in lab.leftovers()
    lab.platform.apply([])
    assert lab.leftovers() == []


def test_terraform_killed_half_way_is_repaired_and_living_nodes_stay(lab: PodmanLab, tmp_path):
    first, second = lab.spec(1), lab.spec(2)
    lab.platform.apply([first])
    before = instances(lab)
    module = broken_module(tmp_path, "kill -9 $PPID", before='"$podman" start', node=second.name)
    with pytest.raises(StepFailedError):
        lab.new_platform(module).apply([first, second])
    lab.new_platform().apply([first, second])
    assert states(lab) == {first.name: NodeState.RUNNING, second.name: NodeState.RUNNING}
    assert instances(lab)[first.name] == before[first.name]
    assert lab.platform.pending([first, second]) == ()


def test_a_lost_state_costs_no_living_node(lab: PodmanLab):
    wanted = [lab.spec(1), lab.spec(2)]
    lab.platform.apply(wanted)
    before = instances(lab)
    shutil.rmtree(lab.state / "terraform")
    assert instances(lab) == before
    assert all("take over" in line for line in lab.platform.pending(wanted))
    lab.platform.apply(wanted)
    assert instances(lab) == before
    assert lab.platform.pending(wanted) == ()


def test_a_lost_state_is_cleaned_up_after(lab: PodmanLab):
    lab.platform.apply([lab.spec(1), lab.spec(2)])
    shutil.rmtree(lab.state / "terraform")
    lab.platform.apply([lab.spec(2)])
    assert states(lab) == {lab.spec(2).name: NodeState.RUNNING}
    shutil.rmtree(lab.state / "terraform")
    lab.platform.apply([])
    assert lab.leftovers() == []


def test_an_old_state_costs_no_living_node(lab: PodmanLab):
    spec = lab.spec(1)
    lab.platform.apply([spec])
    state = lab.state / "terraform" / "podman" / "terraform.tfstate"
    old = state.read_bytes()
    lab.lose(spec.name)
    lab.platform.apply([spec])
    before = instances(lab)
    state.write_bytes(old)
    assert instances(lab) == before
    lab.platform.apply([spec])
    assert instances(lab) == before
    assert lab.platform.pending([spec]) == ()


def test_another_image_under_the_same_name_replaces_the_node(lab: PodmanLab):
    spec = lab.spec(1)
    lab.platform.apply([spec])
    before = instances(lab)
    moved = NodeSpec(spec.name, spec.address, spec.image, spec.image_digest, "b")
    lab.platform.apply([moved])
    assert [node.spec for node in lab.platform.nodes()] == [moved]
    assert instances(lab) != before


def test_a_removed_network_comes_back(lab: PodmanLab):
    spec = lab.spec(1)
    lab.platform.apply([spec])
    lab.ask("network", "rm", "--force", "--time", "0", lab.network)
    assert states(lab) == {spec.name: NodeState.VANISHED}
    lab.platform.apply([spec])
    assert states(lab) == {spec.name: NodeState.RUNNING}


def test_a_locked_state_is_refused_in_words(lab: PodmanLab):
    lab.platform.apply([lab.spec(1)])
    state = lab.state / "terraform" / "podman" / "terraform.tfstate"
    with state.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        with pytest.raises(LockedError) as caught:
            lab.platform.apply([lab.spec(1), lab.spec(2)])
    assert caught.value.resolution
    assert states(lab) == {lab.spec(1).name: NodeState.RUNNING}


def test_a_container_of_somebody_else_is_not_touched(lab: PodmanLab):
    spec = lab.spec(1)
    lab.ask("create", "--name", spec.name, "--network", "none", lab.image_name, "/sbin/init")
    try:
        with pytest.raises(RefusedError, match=spec.name):
            lab.platform.apply([spec])
        assert lab.platform.nodes() == ()
        assert lab.ask("container", "exists", spec.name) == ""
    finally:
        lab.lose(spec.name)


def test_a_name_taken_while_the_node_was_away_is_seen(lab: PodmanLab):
    spec = lab.spec(1)
    lab.platform.apply([spec])
    lab.lose(spec.name)
    lab.ask("create", "--name", spec.name, "--network", "none", lab.image_name, "/sbin/init")
    try:
        assert states(lab) == {spec.name: NodeState.VANISHED}
        with pytest.raises(RefusedError, match=spec.name):
            lab.platform.apply([spec])
    finally:
        lab.lose(spec.name)


def test_a_subnet_in_use_is_refused(lab: PodmanLab):
    other = f"{lab.cluster}-other"
    lab.ask("network", "create", "--subnet", f"{lab.subnet.network_address}/25", other)
    try:
        with pytest.raises(RefusedError, match=other):
            lab.platform.pending([lab.spec(1)])
        with pytest.raises(RefusedError, match=other):
            lab.platform.apply([lab.spec(1)])
    finally:
        lab.ask("network", "rm", other)


def test_a_guest_on_the_network_keeps_its_address(lab: PodmanLab):
    first, second = lab.spec(1), lab.spec(2)
    lab.platform.apply([first])
    guest = f"{lab.cluster}-guest"
    lab.ask(
        *("run", "--detach", "--name", guest, "--network", lab.network),
        *("--ip", second.address, lab.image_name, "/sbin/init"),
    )
    try:
        with pytest.raises(RefusedError, match=second.address):
            lab.platform.apply([first, second])
        with pytest.raises(RefusedError) as caught:
            lab.platform.apply([])
        assert guest in "\n".join(caught.value.details)
        assert states(lab) == {first.name: NodeState.RUNNING}
    finally:
        lab.lose(guest)
