"""Where workflows are written, what they are called, and what an operator is told to do."""

import importlib
import re
from pathlib import Path

import pytest
import typer

from onebaton.adapters import pipelines
from onebaton.adapters.configfile import load
from onebaton.adapters.startfile import Choices, write
from onebaton.errors import ConfigError, UsageError


@pytest.fixture
def repository(tmp_path):
    """A git repository with the file that a new user begins with."""
    (tmp_path / ".git").mkdir()
    write(tmp_path / "cluster.yaml", Choices("podman", "lab", "6.10.5", None), force=False)
    return tmp_path


def change(repository: Path, old: str, new: str) -> None:
    path = repository / "cluster.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def needs(repository: Path) -> str:
    made = pipelines.write("github", repository / "cluster.yaml", force=True)
    return "\n".join(made.needs)


def test_the_files_that_it_names_may_be_elsewhere(repository):
    with pytest.raises(ConfigError, match=r"cluster\.yaml"):
        load(repository / "cluster.yaml")
    assert load(repository / "cluster.yaml", files=False).zone.name == "lab"
    assert "A runner that reaches the zone" in needs(repository)


def test_what_a_checkout_cannot_keep_is_told(repository):
    told = needs(repository)
    assert "`state` is a folder of the checkout" in told
    assert "ssh.key and zone.credentials.password.file name a file of the checkout" in told
    change(repository, 'state: ".onebaton"', "state: s3://bucket/lab")
    assert "`local` is a folder of the checkout" in needs(repository)
    change(repository, "local: null", "local: /var/lib/onebaton/lab")
    change(repository, "file: secrets/oneadmin", "env: ONE_PASSWORD")
    change(repository, "key: secrets/id_ed25519", "key: /etc/onebaton/id_ed25519")
    told = needs(repository)
    assert "of the checkout" not in told
    assert "comes from the environment variable ONE_PASSWORD" in told


@pytest.mark.parametrize(
    ("place", "slug"),
    [
        ("cluster.yaml", "cluster"),
        ("prod/cluster.yaml", "prod"),
        ("Zones/EU West/cluster.yaml", "zones-eu-west"),
        ("prod/blue.yaml", "prod-blue"),
    ],
)
def test_each_cluster_has_workflows_of_its_own(place, slug):
    files = pipelines.render("github", Path(place), "lab")
    plan = files[f".github/workflows/onebaton-{slug}-plan.yml"]
    rollout = files[f".github/workflows/onebaton-{slug}-rollout.yml"]
    assert f'ONEBATON_CONFIG: "{place}"' in plan
    assert f"onebaton-{slug}-plan.yml" in rollout
    folder = place.rpartition("/")[0]
    assert (f'paths: ["{folder}/**", ".github/**"]' in rollout) is bool(folder)
    assert ("paths: [" in rollout) is bool(folder)


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_nothing_that_others_write_and_no_secret_is_part_of_them(system):
    for path, text in pipelines.render(system, Path("cluster.yaml"), "lab").items():
        assert "{{ " not in text.replace("${{ ", ""), path
        assert "secrets." not in text, path
        assert "cancel-in-progress: true" not in text, path
        assert "pull_request_target" not in text, path


def test_actions_are_pinned_and_few():
    files = pipelines.render("github", Path("cluster.yaml"), "lab")
    lines = [line for text in files.values() for line in text.splitlines() if "uses: " in line]
    actions = {line.partition("uses: ")[2] for line in lines}
    assert {action.partition("@")[0] for action in actions} == {
        "actions/checkout",
        "actions/cache",
        "actions/upload-artifact",
        "aws-actions/configure-aws-credentials",
    }
    assert len(actions) == 4
    assert all(action.partition("@v")[2].count(".") == 2 for action in actions)


#: What the workflows run: a part of their text, and the words that come of it.
COMMAND_LINES = (
    ("onebaton version", "version"),
    ("onebaton config check --without-files", "config check --without-files"),
    ("onebaton config check\n", "config check"),
    ("onebaton bake --plain", "bake --plain"),
    ('onebaton plan --plain "${arguments[@]}"', "plan --plain --out p --markdown m --sign-key k"),
    ("rollout.sh rollout --plan plan.json --plain", "rollout --plan plan.json --plain"),
    ('rollout.sh continue --as "$GITHUB_ACTOR" --plain', "continue --as op --plain"),
    ('rollout.sh "$COMMAND" --yes --plain', "abort --yes --plain"),
    ('rollout.sh "$COMMAND" --yes --plain', "rollback --yes --plain"),
    ('rollout.sh "$COMMAND" --yes --plain', "finalize --yes --plain"),
    ('onebaton report last --format json --out "$1"', "report last --format json --out r.json"),
    ("onebaton report last --format html --out report.html", "report last --format html --out r"),
    ("onebaton report last --format md --out report.body.md", "report last --format md --out r"),
    ('onebaton "$command" --plain', "doctor --plain"),
    ('onebaton "$command" --plain', "drift --plain"),
)


@pytest.mark.parametrize(
    ("text", "words"), COMMAND_LINES, ids=[words for _, words in COMMAND_LINES]
)
def test_the_commands_take_what_the_workflows_say(text, words):
    files = pipelines.render("github", Path("cluster.yaml"), "lab")
    assert any(text in content for content in files.values())
    name, *arguments = words.split()
    command = typer.main.get_command(importlib.import_module(f"onebaton.commands.{name}").app)
    if name == "config":
        command = command.commands[arguments.pop(0)]
    # Parsed, and not run; an option that is none raises.
    context = command.make_context(name, list(arguments))
    assert context.args == []


def test_gitlab_takes_the_link_to_the_plan():
    """It refuses names with anything else in them, and its schema does not tell."""
    files = pipelines.render("gitlab", Path("cluster.yaml"), "lab-2")
    (name,) = re.findall(r"expose_as: (.*)", files[".gitlab/onebaton-cluster.gitlab-ci.yml"])
    assert re.fullmatch(r"\w[-\w ]*", name)


def test_gitlabs_entry_is_left_as_it_is(repository):
    entry = repository / ".gitlab-ci.yml"
    entry.write_text("mine")
    made = pipelines.write("gitlab", repository / "cluster.yaml", force=True)
    assert entry.read_text() == "mine"
    assert ".gitlab/onebaton-cluster.gitlab-ci.yml" in made.needs[0]
    assert entry not in made.written


def test_nothing_is_written_where_one_thing_is_in_the_way(repository):
    there = repository / ".github/onebaton/plan.sh"
    there.parent.mkdir(parents=True)
    there.write_text("mine")
    with pytest.raises(UsageError) as caught:
        pipelines.write("github", repository / "cluster.yaml", force=False)
    assert caught.value.details == (".github/onebaton/plan.sh",)
    assert list(repository.rglob("*.yml")) == []
    made = pipelines.write("github", repository / "cluster.yaml", force=True)
    assert len(made.written) == 10
    assert pipelines.write("github", repository / "cluster.yaml", force=False).written == ()


def test_it_has_to_be_in_a_repository(repository):
    (repository / ".git").rmdir()
    with pytest.raises(UsageError, match="is in no git repository"):
        pipelines.write("github", repository / "cluster.yaml", force=False)
