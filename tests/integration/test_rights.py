"""The rights that are asked for are the ones that are used: no more, no less.

The other tests on AWS write down what was asked of it. This one comes after them; where they were
not all run, only what was seen can be judged.
"""

import json
import re
from pathlib import Path

import pytest
from tests.integration.aws_calls import RECORDED

from onebaton.adapters.parts import part

pytestmark = [pytest.mark.integration, pytest.mark.alone]

POLICY = Path(__file__).parents[2] / "docs" / "aws-policy.json"
#: Parts of the tests that ask AWS for something as whoever runs the command does.
PARTS = ("bake", "images", "platform", "state")
#: What a node asks for, by its own role.
NODE = "address-of-a-node"
#: Where a secret may come from: a right on each one that is named, which no policy for all can
#: hold; and the tests put theirs there themselves, in the same service as the state.
SECRETS = ("ssm:", "secretsmanager:")
#: Checked by AWS when a role is made with tags, and given to an instance; never called.
UNCALLED = {"iam:PassRole", "iam:TagInstanceProfile", "iam:TagRole"}


def recorded(*names: str) -> dict[str, set[str]]:
    """Actions that these parts asked for, by part; those that were not run are missing."""
    found: dict[str, set[str]] = {}
    for name in names:
        for file in RECORDED.glob(f"*/{name}"):
            found.setdefault(name, set()).update(file.read_text().split())
    return found


def allowed() -> set[str]:
    statements = json.loads(POLICY.read_text())["Statement"]
    actions = [action for statement in statements for action in statement["Action"]]
    assert len(actions) == len(set(actions)), "an action stands twice"
    return set(actions)


def test_nothing_is_allowed_by_a_pattern():
    assert all(re.fullmatch(r"(ec2|iam|s3|sts):[A-Za-z0-9]+", action) for action in allowed())


def test_the_policy_is_what_the_recorded_calls_used():
    found = recorded(*PARTS)
    used = {
        action for actions in found.values() for action in actions if not action.startswith(SECRETS)
    }
    assert sorted(used - allowed()) == []
    missing = sorted(set(PARTS) - set(found))
    if missing:
        pytest.skip(f"nothing was asked of AWS for: {', '.join(missing)}")
    assert sorted(allowed() - used) == sorted(UNCALLED)


def test_a_node_may_do_what_its_hook_does_and_nothing_else():
    found = recorded(NODE)
    if not found:
        pytest.skip("no node asked AWS for anything")
    written = (part("terraform", "aws") / "access.tf").read_text()
    assert set(re.findall(r"ec2:[A-Za-z]+", written)) == found[NODE]
