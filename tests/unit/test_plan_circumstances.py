"""What a plan is decided on beside the zone: Terraform's plan and state, the configuration, use."""

import json
from pathlib import Path

import pytest
from tests.fakes.store import MemoryStore

from onebaton.adapters.configfile import load
from onebaton.adapters.plannedchanges import recorded_changes, state_identity
from onebaton.errors import ConfigError, RefusedError, UnreadableError
from onebaton.plan.configured import changed_settings, settings_of
from onebaton.records import StateIdentity
from onebaton.rollout.planuse import PlanUses

DIGEST = "sha256:" + "a" * 64


def resource(address: str = "node.a", **change: object) -> dict[str, object]:
    """One entry of ``resource_changes``."""
    given = {"actions": ["create"], "before": None, "after": {"x": 1}, "after_unknown": {}}
    return {"address": address, "change": {**given, **change}}


def shown(*resources: dict[str, object]) -> str:
    return json.dumps({"format_version": "1.2", "resource_changes": resources})


def test_terraforms_changes_in_their_order():
    found = recorded_changes(
        shown(
            resource("node.b", actions=["delete", "create"]),
            resource("node.c", actions=["no-op"]),
            resource("node.a", actions=["no-op"], importing={"id": "1"}),
        )
    )
    assert [(one.address, one.actions) for one in found] == [
        ("node.a", ("import",)),
        ("node.b", ("delete", "create")),
    ]
    assert recorded_changes("{}") == ()


def test_what_would_stand_there_counts_and_what_is_sensitive_does_not():
    (plain,) = recorded_changes(shown(resource()))
    (same,) = recorded_changes(shown(resource(after={"x": 1})))
    (other,) = recorded_changes(shown(resource(after={"x": 2})))
    assert plain == same != other
    marks = {"x": True, "in": [{}, {"y": True}]}

    def secret(text: str) -> str:
        after = {"x": text, "in": [{"y": 1}, {"y": text}, {"y": 2}]}
        return recorded_changes(shown(resource(after=after, after_sensitive=marks)))[0].content

    assert secret("hunter2") == secret("other")
    (unmarked,) = recorded_changes(
        shown(resource(after={"x": "hunter2", "in": [{"y": 1}, {"y": "hunter2"}, {"y": 2}]}))
    )
    assert unmarked.content != secret("hunter2")
    whole = [
        recorded_changes(shown(resource(after=text, after_sensitive=True))) for text in ("a", "b")
    ]
    assert whole[0] == whole[1]


def test_the_state_by_lineage_and_serial():
    assert state_identity("") is None
    assert state_identity('{"version": 4, "serial": 0, "lineage": ""}') is None
    text = '{"version": 4, "serial": 12, "lineage": "8f3a", "resources": []}'
    assert state_identity(text) == StateIdentity("8f3a", 12)


CONFIG = """\
# a comment
zone: {{name: z, vip: {{address: 10.0.0.100/24}}, credentials: {{password: {{file: {secret}}}}}}}
image: {{version: 6.10.5, repository: {{url: "{url}", key: key}}}}
platform: {{kind: podman}}
network:
  subnet: 10.0.0.0/24
  generations:
    a: [10.0.0.11, 10.0.0.12, 10.0.0.13]
    b: [10.0.0.21, 10.0.0.22, 10.0.0.23]
ssh: {{key: key}}
{more}
"""


def settings(
    folder: Path, *, url: str = "https://example.org/one", where: str = "secret", more: str = ""
) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for name in ("key", "key.pub", "secret"):
        (folder / name).write_text("hunter2\n")
    path = folder / "cluster.yaml"
    path.write_text(CONFIG.format(url=url, secret=where, more=more))
    return settings_of(load(path), folder)


def test_where_the_configuration_lies_and_how_it_is_written_does_not_count(tmp_path):
    here = settings(tmp_path / "here")
    assert settings(tmp_path / "there", more="# another comment") == here
    # A default that is written down is the same value.
    assert settings(tmp_path / "there", more="rollout: {strategy: surge}") == here
    assert settings(tmp_path / "there", more="rollout: {strategy: one-by-one}") != here


def test_values_that_changed_are_named_and_not_shown(tmp_path):
    here = settings(tmp_path)
    other = settings(tmp_path, where="key", more="oned: {log_retention: 5000}")
    assert changed_settings(here, other) == (
        "oned.log_retention",
        "zone.credentials.password.file",
    )
    assert "hunter2" not in json.dumps(here)
    one = settings(tmp_path, url="https://me:hunter2@example.org/one")
    assert one == settings(tmp_path, url="https://me:other@example.org/one") == here


def test_a_signature_is_judged_by_somebodys_key(tmp_path):
    with pytest.raises(ConfigError) as error:
        settings(tmp_path, more="plans: {require_signature: true}")
    assert "plans.require_signature: takes a key in plans.public_keys" in error.value.details[0]


def test_a_plan_is_used_once():
    store = MemoryStore()
    uses = PlanUses(store, DIGEST)
    assert uses.load() is None
    use = uses.take("run-1", 5.0, StateIdentity("l", 3))
    with pytest.raises(RefusedError, match="another run"):
        PlanUses(store, DIGEST).take("run-2", 6.0, None)
    assert PlanUses(store, DIGEST).load() == use
    assert use.identity == StateIdentity("l", 3)
    use = uses.changing(use)
    assert (use.changing, use.run) == (True, "run-1")
    use = uses.settled(use, StateIdentity("l", 4))
    use = uses.ended(use, 9.0)
    found = PlanUses(store, DIGEST).load()
    assert found == use
    assert found is not None
    assert (found.ended_at, found.changing, found.identity) == (9.0, False, StateIdentity("l", 4))
    assert PlanUses(store, "sha256:" + "b" * 64).load() is None
    assert list(store.keys("")) == [f"plans/{'a' * 64}.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 2}'])
def test_a_mark_that_cannot_be_read_is_not_taken_for_none(content):
    store = MemoryStore()
    uses = PlanUses(store, DIGEST)
    store.write(uses.key, content)
    with pytest.raises(UnreadableError, match="mark of a plan's use"):
        uses.load()
