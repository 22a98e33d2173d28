"""The file that a new user begins with: complete, right, and never behind the models."""

import dataclasses
from typing import get_args

import pytest
from ruamel.yaml import YAML

from onebaton.adapters.configfile import load
from onebaton.adapters.startfile import Choices, render, write
from onebaton.config import (
    AwsPlatform,
    ClusterConfig,
    DatabaseConfig,
    Gates,
    NotifyConfig,
    OnedConfig,
    PodmanPlatform,
    ProbeConfig,
    RolloutConfig,
    S3Config,
    SecretsConfig,
    SecretSource,
    Section,
    SeedConfig,
    StagesConfig,
    Timeouts,
)
from onebaton.config.section import kind_of
from onebaton.errors import ConfigError, UsageError

CHOICES = Choices("podman", "lab", "6.10.5", None)


@pytest.fixture
def folder(tmp_path):
    """A folder with the files that a new cluster.yaml names."""
    (tmp_path / "secrets").mkdir()
    for name in ("secrets/id_ed25519", "secrets/id_ed25519.pub", "opennebula.asc"):
        (tmp_path / name).write_text("")
    return tmp_path


def begin(folder, choices=CHOICES):
    write(folder / "cluster.yaml", choices, force=False)
    return load(folder / "cluster.yaml", environ={"REPO": "/srv/packages"})


@pytest.mark.parametrize("repository", [None, "${REPO}", "/srv/packages", "https://example.org/r"])
def test_it_is_right_once_the_files_it_names_are_there(folder, repository):
    choices = dataclasses.replace(CHOICES, repository=repository, name="true", version="7.0.2")
    config = begin(folder, choices)
    assert (config.zone.name, config.image.version) == ("true", "7.0.2")
    expected = (
        "https://downloads.opennebula.io/repo/7.0/Debian/12" if repository is None else repository
    )
    assert config.image.repository.url == expected.replace("${REPO}", "/srv/packages")


def test_its_values_are_the_defaults(folder):
    config = begin(folder)
    assert config.rollout == RolloutConfig()
    assert config.rollout.timeouts == Timeouts()
    assert config.rollout.gates == Gates()
    assert config.rollout.probe == ProbeConfig()
    assert config.oned == OnedConfig()
    assert config.database == DatabaseConfig()
    assert config.platform == PodmanPlatform()
    for section in (config.zone, config.zone.vip, config.ssh, config.image):
        for name, field in type(section).model_fields.items():
            if not field.is_required():
                assert getattr(section, name) == field.default, name
    state = ClusterConfig.model_fields["state"].default
    assert config.state == str(folder / state)
    assert config.local is None
    assert config.s3 == S3Config()
    assert config.stages == StagesConfig()
    assert config.notify == NotifyConfig()
    assert config.seed == SeedConfig()
    assert config.secrets == SecretsConfig()


def test_on_aws_too_its_values_are_the_defaults(folder):
    config = begin(folder, dataclasses.replace(CHOICES, platform="aws"))
    platform = config.platform
    assert isinstance(platform, AwsPlatform)
    assert platform.clones is not None  # where the clones are that the file speaks of
    sections = (platform, platform.source_ami, platform.volumes, platform.address, platform.clones)
    for section in sections:
        for name, field in type(section).model_fields.items():
            if not field.is_required() and (section, name) != (platform, "clones"):
                assert getattr(section, name) == field.default, name


CHANGES = {
    "stages": (
        "approve: []",
        "approve: [joind]",
        "stages.approve[0]: must be 'provisioned', 'prepared', 'held', 'cut', 'joined', "
        "'handed-over' or 'retired'",
    ),
    # The zone is one server then: nobody may wait.
    "a soak after the cut": (
        "soak_s: {}",
        "soak_s: {cut: 60}",
        "stages.soak_s.cut: must be 'provisioned', 'prepared', 'held', 'joined', 'handed-over' "
        "or 'retired'",
    ),
    "a soak of no time": (
        "soak_s: {}",
        "soak_s: {joined: 0}",
        "stages.soak_s.joined: must be more than 0.0",
    ),
    "windows": (
        "windows: []",
        "windows: [Sat 02:00-05:00 UTC, sometimes]",
        'stages.windows[1]: must be days, times and a time zone, such as "Sat 02:00-05:00 '
        'Europe/Berlin"',
    ),
    "hooks": (
        "before: {}",
        "before: {cut: page}",
        "stages.hooks.before.cut: must be a list",
    ),
    "hooks without a word": (
        "after: {}",
        "after: {cut: []}",
        "stages.hooks.after.cut: must hold at least one entry",
    ),
    "the webhook's address": (
        "  # url:",
        "  url: https://example.org/t0psecret\n  # url:",
        "notify.url: a secret does not stand here: say where it is, with one of file, "
        "env, command, ssm, secretsmanager",
    ),
}


@pytest.mark.parametrize(("old", "new", "said"), CHANGES.values(), ids=CHANGES)
def test_mistakes_in_stages_are_told(folder, old, new, said):
    begin(folder)
    file = folder / "cluster.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as error:
        load(file)
    assert [detail.partition(": ")[2] for detail in error.value.details] == [said]
    assert "t0psecret" not in str(error.value.details)


def test_stages_as_they_are_meant(folder):
    begin(folder)
    file = folder / "cluster.yaml"
    text = file.read_text()
    for old, new in (
        ("approve: []", "approve: [cut, handed-over]"),
        ("soak_s: {}", "soak_s: {joined: 600}"),
        ("windows: []", "windows: [Sat 02:00-05:00 UTC]"),
        ("before: {}", "before: {cut: [/bin/page, begin]}"),
        ("  # url:", "  url: {env: HOOK}\n  # url:"),
        ('events: ["begun", "stage", "waiting", "finished", "failed"]', "events: [failed]"),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    config = load(file)
    assert config.stages.approve == ("cut", "handed-over")
    assert config.stages.soak_s == {"joined": 600.0}
    assert [window.text for window in config.stages.opened] == ["Sat 02:00-05:00 UTC"]
    assert config.stages.hooks.before == {"cut": ("/bin/page", "begin")}
    assert config.notify.url is not None
    assert (config.notify.url.env, config.notify.events) == ("HOOK", ("failed",))


@pytest.mark.parametrize("platform", [PodmanPlatform, AwsPlatform])
def test_it_holds_every_option_with_a_comment(platform):
    text = render(dataclasses.replace(CHOICES, platform=kind_of(platform)))
    data = YAML(typ="safe", pure=True).load(text)
    # Said in comments: there is one way to give a secret at a time.
    password = "zone.credentials.password"
    others = [name for name in SecretSource.model_fields if name != "file"]
    unsaid = {*(f"{password}.{name}" for name in others), "database.password", "notify.url"}
    # On aws platform.source_ami says it.
    absent = {"image.base"} if platform is AwsPlatform else set()

    def keys(section: type[Section], values: dict, prefix: str):
        for name, field in section.model_fields.items():
            key = f"{prefix}{name}"
            # A clone's own file alone says that it is one, and no person writes it.
            if key == "clone":
                continue
            if key in unsaid:
                assert f"# {name}:" in text
                continue
            if key in absent:
                assert name not in values
                continue
            assert name in values, key
            kinds = (field.annotation, *get_args(field.annotation))
            inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, Section)), None)
            inner = platform if key == "platform" else inner
            if inner is not None and isinstance(values[name], dict):
                keys(inner, values[name], f"{key}.")
            elif key != f"{password}.file":
                first_line = (field.description or "?")[:60]
                assert f"# {first_line}" in text, key

    keys(ClusterConfig, data, "")


def test_it_replaces_nothing_unasked(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write(path, CHOICES, force=False)
    assert path.read_text() == "mine"
    write(path, CHOICES, force=True)
    assert path.read_text() == render(CHOICES)


def test_the_folder_is_missing(tmp_path):
    with pytest.raises(UsageError, match="No such file or directory"):
        write(tmp_path / "none" / "cluster.yaml", CHOICES, force=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "My Zone"}, "--name: must start"),
        ({"version": "6.10"}, "--version: must be a whole"),
    ],
)
def test_choices_that_are_none_write_nothing(tmp_path, change, message):
    path = tmp_path / "cluster.yaml"
    with pytest.raises(UsageError, match=message):
        write(path, dataclasses.replace(CHOICES, **change), force=False)
    assert not path.exists()
