"""Reading what Terraform writes, and writing what it reads."""

import json
from pathlib import Path

import pytest
from tests.fakes.reporter import ListReporter

from onebaton.adapters import terraform
from onebaton.adapters.terraform import Change, Diagnostics, Resource, Terraform
from onebaton.adapters.terraform_backend import S3Backend
from onebaton.config import S3Config
from onebaton.errors import LockedError, StepFailedError, UnavailableError

LOCK_DETAIL = """\
Error message: resource temporarily unavailable
Lock Info:
  ID:        9db590f1-b6fe-c5f2-2678-8804f089deba
  Path:      terraform.tfstate
  Operation: OperationTypeApply
  Who:       root@lab
  Version:   1.11.4
  Created:   2026-01-01 10:00:00 UTC
  Info:
"""


@pytest.mark.parametrize("version", ["1.5.0", "1.11.4", "2.0.0-beta1"])
def test_accepts_versions_that_have_what_the_modules_use(version: str):
    assert terraform.require_version(json.dumps({"terraform_version": version})) == version


@pytest.mark.parametrize("text", ['{"terraform_version": "1.4.7"}', "{}", "Terraform v0.11"])
def test_refuses_others_and_says_what_to_install(text: str):
    with pytest.raises(UnavailableError) as caught:
        terraform.require_version(text)
    assert "1.5" in (caught.value.resolution or "")


def test_missing_terraform_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError) as caught:
        Terraform(module=tmp_path, folder=tmp_path / "f", reporter=ListReporter()).check()
    assert "1.5" in (caught.value.resolution or "")


def test_a_missing_module_is_told_before_the_program_is_looked_for(tmp_path: Path):
    with pytest.raises(UnavailableError, match="missing"):
        Terraform(module=tmp_path / "no", folder=tmp_path / "f", reporter=ListReporter()).check()


def test_there_is_nothing_before_the_first_run(tmp_path: Path):
    never = Terraform(module=tmp_path, folder=tmp_path / "f", reporter=ListReporter())
    assert never.resources() == ()
    assert never.outputs() == {}


def test_reads_the_state():
    shown = {
        "format_version": "1.0",
        "values": {
            "root_module": {
                "resources": [
                    {
                        "address": 'terraform_data.node["n1"]',
                        "mode": "managed",
                        "type": "terraform_data",
                        "name": "node",
                        "index": "n1",
                        "tainted": True,
                        "values": {"id": "i1", "input": {"address": "10.0.0.1"}},
                    },
                    {
                        "address": "terraform_data.network[0]",
                        "mode": "managed",
                        "type": "terraform_data",
                        "name": "network",
                        "index": 0,
                        "values": {"id": "i0"},
                    },
                    {"address": "data.x.y", "mode": "data", "type": "x", "name": "y"},
                ]
            }
        },
    }
    network, node = terraform.parse_state(json.dumps(shown))
    assert network == Resource(
        "terraform_data.network[0]", "terraform_data", "network", None, False, {"id": "i0"}
    )
    assert (node.key, node.tainted, node.values["id"]) == ("n1", True, "i1")
    assert terraform.parse_state('{"format_version": "1.0"}') == ()


def test_reads_a_plan():
    seen = Diagnostics()

    def tell(address: str, action: str, **more: object) -> None:
        change = {"resource": {"addr": address}, "action": action, **more}
        seen.take(json.dumps({"type": "planned_change", "change": change}))

    tell("b", "replace", reason="replace_triggered_by")
    tell("a", "update", importing={"id": "i1"})
    tell("c", "noop")
    tell("d", "noop", importing={"id": "i2"})
    tell("e", "import", importing={"id": "i3"})
    tell("data.x.y", "read")
    seen.take(json.dumps({"type": "resource_drift", "change": {"resource": {"addr": "f"}}}))
    assert seen.changes == [
        Change("b", ("delete", "create"), importing=False),
        Change("a", ("update",), importing=True),
        Change("d", ("no-op",), importing=True),
        Change("e", ("no-op",), importing=True),
    ]


def test_reads_ids_of_a_stored_state():
    def item(kind: str, name: str, *instances: object, **more: object) -> dict[str, object]:
        return {"mode": "managed", "type": kind, "name": name, "instances": instances, **more}

    stored = {
        "version": 4,
        "resources": [
            item("aws_instance", "node", {"index_key": "n1", "attributes": {"id": "i-1"}}),
            item("aws_instance", "bad", {"status": "tainted", "attributes": {"id": "i-2"}}),
            item("aws_iam_role", "node", {"index_key": 0, "attributes": {"id": "r"}}),
            item("x", "y", {"attributes": {"id": "z"}}, mode="data"),
        ],
    }
    assert [
        (one.address, one.key, one.tainted, one.values["id"])
        for one in terraform.parse_stored(json.dumps(stored)) or ()
    ] == [
        ("aws_iam_role.node[0]", None, False, "r"),
        ("aws_instance.bad", None, True, "i-2"),
        ('aws_instance.node["n1"]', "n1", False, "i-1"),
    ]
    assert terraform.parse_stored("") == ()
    assert terraform.parse_stored('{"version": 5}') is None


def test_writes_imports_in_a_fixed_order():
    text = terraform.import_blocks({'x["b"]': "2", 'x["a"]': "1"})
    assert json.loads(text) == {
        "import": [{"to": 'x["a"]', "id": "1"}, {"to": 'x["b"]', "id": "2"}]
    }


def test_collects_errors_and_not_warnings():
    seen = Diagnostics()
    for severity, summary in (("warning", "old"), ("error", "bad")):
        seen.take(
            json.dumps(
                {
                    "type": "diagnostic",
                    "diagnostic": {
                        "severity": severity,
                        "summary": summary,
                        "detail": "why",
                        "address": 'x["a"]',
                    },
                }
            )
        )
    assert seen.take("not json") == {}
    assert seen.take("[1]") == {}
    assert seen.errors == [('x["a"]: bad', "why")]


def test_tells_what_scripts_say_and_not_their_command_lines():
    def event(kind: str, **hook: object) -> dict[str, object]:
        resource = {"resource_name": "node", "resource_key": "n1"}
        return {"type": kind, "hook": {"resource": resource, **hook}}

    assert terraform.describe(event("apply_start", action="create")) == "node n1: create"
    said = event("provision_progress", output="container 12\n")
    assert terraform.describe(said) == "node n1: container 12"
    command = event("provision_progress", output='Executing: ["/bin/sh"]')
    assert terraform.describe(command) is None
    assert terraform.describe(event("apply_complete", action="create")) is None
    assert terraform.describe({"type": "version"}) is None


def test_a_failure_carries_every_line_and_a_way_out():
    error = terraform.failure("apply", [("a: broken", "line one\n\nline two"), ("b: too", "")])
    assert isinstance(error, StepFailedError)
    assert error.details == ("a: broken: line one", "line two", "b: too")
    assert error.resolution


def test_a_lock_says_whose_it_is():
    error = terraform.failure("plan", [(terraform.LOCK_SUMMARY, LOCK_DETAIL)])
    assert isinstance(error, LockedError)
    assert "Who:       root@lab" in error.details
    assert all("Path" not in line for line in error.details)
    assert error.resolution


def test_a_lock_in_a_store_says_how_it_ends():
    error = terraform.failure("plan", [(terraform.LOCK_SUMMARY, LOCK_DETAIL)], "Take it away.")
    assert (error.resolution or "").endswith("Take it away.")


def test_a_state_in_s3_takes_a_version_that_locks_it():
    text = '{"terraform_version": "1.9.8"}'
    assert terraform.require_version(text) == "1.9.8"
    with pytest.raises(UnavailableError, match="to lock a state"):
        terraform.require_version(text, (1, 10))


def backend(place: str = "s3://bucket/zones/lab", **store: str) -> dict[str, object]:
    config = S3Config.model_validate(store)
    settings = S3Backend(place, "aws.tfstate", config, region="eu-west-1").settings()
    return settings["terraform"]["backend"]["s3"]


def test_the_state_is_encrypted_and_locked_below_the_prefix():
    assert backend() == {
        "bucket": "bucket",
        "key": "zones/lab/aws.tfstate",
        "region": "eu-west-1",
        "use_lockfile": True,
        "encrypt": True,
    }
    assert backend("s3://bucket")["key"] == "aws.tfstate"


def test_the_stores_own_settings_count():
    found = backend(encryption="aws:kms", kms_key_id="arn:key", region="eu-west-2")
    assert (found["kms_key_id"], found["region"]) == ("arn:key", "eu-west-2")
    assert backend(encryption="bucket")["encrypt"] is False
    near = backend(endpoint_url="http://minio:9000")
    assert near["endpoints"] == {"s3": "http://minio:9000"}
    assert near["use_path_style"] is True
    assert near["region"] == "eu-west-1"
