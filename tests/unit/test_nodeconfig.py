"""What a node's ``oned.conf`` says of the zone's address, by platform."""

from pathlib import Path

import pytest

from onebaton.adapters import onedconf
from onebaton.adapters.nodeconfig import (
    AWS_COMMAND,
    TEMPLATE,
    AddressHook,
    Wanted,
    ZoneSettings,
    hook_of,
    variables,
)
from onebaton.adapters.parts import part
from onebaton.adapters.templates import Templates
from onebaton.config import AwsPlatform, DatabaseConfig, OnedConfig, PodmanPlatform
from onebaton.model import Secret, Vip


def _aws(**changed: object) -> AwsPlatform:
    return AwsPlatform.model_validate(
        {
            "kind": "aws",
            "region": "eu-central-1",
            "vpc_id": "vpc-0a1b2c3d",
            "subnets": [{"id": "subnet-0a1b2c3d", "cidr": "10.0.0.0/24"}],
            "access": {"operators": ["10.9.0.0/24"]},
            **changed,
        }
    )


def _hooks(hook: AddressHook) -> dict[str, tuple[str | None, str | None]]:
    """COMMAND and ARGUMENTS of both hooks, as ``oned`` would read them."""
    zone = ZoneSettings(0, Vip("10.0.0.100", 24, "ens5"), 2633, hook)
    wanted = Wanted(zone, DatabaseConfig(), OnedConfig(), None, 1, 5000, (0, 1))
    text = Templates().render(TEMPLATE, variables(wanted, Secret("x")))
    return {
        found.name: (found.attribute("COMMAND"), found.attribute("ARGUMENTS"))
        for found in onedconf.parse(text, file="oned.conf")
        if found.name.endswith("_HOOK")
    }


def test_where_machines_tell_each_other_the_vendors_hook_is_enough():
    assert _hooks(hook_of(PodmanPlatform())) == {
        "RAFT_LEADER_HOOK": ("raft/vip.sh", "leader ens5 10.0.0.100/24"),
        "RAFT_FOLLOWER_HOOK": ("raft/vip.sh", "follower ens5 10.0.0.100/24"),
    }


@pytest.mark.parametrize(
    ("changed", "options"),
    [
        ({}, ""),
        (
            {"address": {"via": "elastic-ip", "allocation_id": "eipalloc-0a1b2c3d"}},
            " --elastic-ip eipalloc-0a1b2c3d",
        ),
        ({"endpoint_url": "http://10.9.0.1:5000"}, " --endpoint http://10.9.0.1:5000"),
    ],
)
def test_on_aws_the_images_own_hook_asks_ec2_besides(changed: dict[str, object], options: str):
    assert _hooks(hook_of(_aws(**changed))) == {
        "RAFT_LEADER_HOOK": (AWS_COMMAND, f"leader ens5 10.0.0.100/24{options}"),
        "RAFT_FOLLOWER_HOOK": (AWS_COMMAND, f"follower ens5 10.0.0.100/24{options}"),
    }


def test_images_for_aws_hold_that_hook():
    own = part("packer", "platforms", "aws", "files")
    assert (own / Path(AWS_COMMAND).relative_to("/")).is_file()
