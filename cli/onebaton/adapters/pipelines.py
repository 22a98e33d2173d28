"""Writes the workflows of a CI system for a cluster, and says what they need.

Each cluster has workflows of its own, named after the place of its configuration; the shell
scripts that they run are the same for all and shared.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onebaton import __version__
from onebaton.adapters.configfile import load
from onebaton.adapters.templates import Templates
from onebaton.config import ClusterConfig, SecretSource, Section
from onebaton.errors import UsageError

System = Literal["github", "gitlab"]

#: Names of templates below ``pipelines/``, and of the files made from them.
_SCRIPTS = ("install.sh", "plan.sh", "rollout.sh", "night.sh")
_OF_A_SYSTEM = ("api.sh", "comment.sh", "reviewed-plan.sh")
_WORKFLOWS: dict[System, dict[str, str]] = {
    "github": {
        "github/plan.yml.j2": ".github/workflows/onebaton-{slug}-plan.yml",
        "github/rollout.yml.j2": ".github/workflows/onebaton-{slug}-rollout.yml",
        "github/night.yml.j2": ".github/workflows/onebaton-{slug}-night.yml",
    },
    "gitlab": {"gitlab/pipeline.yml.j2": ".gitlab/onebaton-{slug}.gitlab-ci.yml"},
}
#: GitLab's one entry; it is often there already, and then left as it is.
_GITLAB_ENTRY = ".gitlab-ci.yml"


@dataclass(frozen=True, slots=True)
class Made:
    """What was written.

    :param written: files that were not there, or not like this.
    :param needs: what an operator has to do, in full sentences.
    """

    written: tuple[Path, ...]
    needs: tuple[str, ...]


def write(system: System, config: Path, *, force: bool) -> Made:
    """Write a cluster's workflows into the git repository that its configuration is in.

    :param config: the cluster's ``cluster.yaml``.
    :param force: replace files that are there and differ.
    :raises ConfigError: if the configuration has mistakes; the files it names may be elsewhere.
    :raises UsageError: if it is in no git repository, files are there already, or a file cannot
        be written.
    """
    cluster = load(config, files=False)
    root = _repository(config)
    files = render(system, config.absolute().relative_to(root), cluster.zone.name)
    entry = root / _GITLAB_ENTRY
    has_entry = system == "gitlab" and entry.exists()
    if has_entry:
        del files[_GITLAB_ENTRY]
    new = {root / name: text for name, text in files.items() if _differs(root / name, text)}
    there = [str(path.relative_to(root)) for path in new if path.exists()]
    if there and not force:
        raise UsageError(
            "files of the pipeline are there already, and are others than would be written",
            details=there,
            resolution="Look at what would be lost, then say --force.",
        )
    for path, text in new.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}",
                resolution="Make it writable, then run the same command again.",
            ) from None
    included = next(name for name in files if name.endswith(".yml")) if has_entry else ""
    podman = _PODMAN if cluster.platform.kind == "podman" else ""
    of_system = (text.format(podman=podman) for text in _OF_SYSTEM[system])
    needs = (*_of_entry(included), *_of_config(cluster, root), *of_system)
    return Made(tuple(sorted(new)), needs)


def render(system: System, config: Path, zone: str) -> dict[str, str]:
    """The files' texts, by path below the repository's root.

    :param config: the configuration's path below the root.
    """
    folder = config.parent.as_posix().removeprefix(".")
    slug = _slug(config)
    variables = {
        "slug": slug,
        "folder": folder,
        "config": config.as_posix(),
        "zone": zone,
        "requirement": f"onebaton=={__version__}",
    }
    templates = Templates()
    files = {
        name.format(slug=slug): templates.render(f"pipelines/{template}", variables)
        for template, name in _WORKFLOWS[system].items()
    }
    for script in _SCRIPTS:
        files[f".{system}/onebaton/{script}"] = templates.text(f"pipelines/scripts/{script}")
    for script in _OF_A_SYSTEM:
        files[f".{system}/onebaton/{script}"] = templates.text(f"pipelines/{system}/{script}")
    if system == "gitlab":
        files[_GITLAB_ENTRY] = f"include:\n  - local: .gitlab/onebaton-{slug}.gitlab-ci.yml\n"
    return files


def _slug(config: Path) -> str:
    """What tells this cluster's workflows from another one's: ``prod/cluster.yaml`` is prod."""
    words = config.parent.parts if config.stem == "cluster" else (*config.parent.parts, config.stem)
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-") or "cluster"


def _repository(config: Path) -> Path:
    """Root of the git repository that a file is in.

    :raises UsageError: if it is in none.
    """
    for folder in config.absolute().parents:
        if (folder / ".git").exists():
            return folder
    raise UsageError(
        f"{config} is in no git repository",
        resolution="Put it into the repository that the workflows are to be in: git init.",
    )


def _differs(path: Path, text: str) -> bool:
    return not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text


def _of_entry(included: str) -> Iterator[str]:
    if included:
        yield f"Add to {_GITLAB_ENTRY}, which is left as it is: include: [{{local: {included}}}]"


def _of_config(cluster: ClusterConfig, root: Path) -> Iterator[str]:
    """What a pipeline cannot do with, or without, of this very configuration."""
    if "://" not in cluster.state and Path(cluster.state).is_relative_to(root):
        yield (
            "`state` is a folder of the checkout, which every run of a pipeline begins with "
            "emptying: name s3://BUCKET/PREFIX, or a folder of the runner by its whole path."
        )
    elif cluster.local_folder.is_relative_to(root):
        yield (
            "`local` is a folder of the checkout, which every run of a pipeline begins with "
            "emptying: name a folder of the runner by its whole path."
        )
    sources = dict(_secrets(cluster))
    files = {"ssh.key": cluster.ssh.key}
    files |= {f"{key}.file": s.file for key, s in sources.items() if s.file is not None}
    inside = [key for key, path in files.items() if path.is_relative_to(root)]
    if inside:
        yield (
            f"{' and '.join(inside)} {'name' if inside[1:] else 'names'} a file of the checkout, "
            "where no secret may be: name a file of the runner by its whole path, or let a "
            "`command` fetch it."
        )
    for key, source in sources.items():
        if source.env is not None:
            yield (
                f"{key} comes from the environment variable {source.env}: set it for the "
                "runner's own service, or let a `command` fetch it with the role of AWS."
            )


def _secrets(section: Section, prefix: str = "") -> Iterator[tuple[str, SecretSource]]:
    """Every secret that a configuration names, by its dotted key."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, SecretSource):
            yield f"{prefix}{name}", value
        elif isinstance(value, Section):
            yield from _secrets(value, f"{prefix}{name}.")


_RUNNER = (
    "A runner that reaches the zone and the platform, with bash, git, curl, jq, Python 3.11 or "
    "newer with venv, Terraform and Packer{podman}. It keeps nothing between runs but what the "
    "configuration names by whole paths."
)
_PODMAN = ", for podman as root on the machine of the nodes"
_OF_SYSTEM: dict[System, tuple[str, ...]] = {
    "github": (
        _RUNNER + " Its label is the variable ONEBATON_RUNNER (default: self-hosted).",
        "An environment (variable ONEBATON_ENVIRONMENT, default: onebaton) with its required "
        "reviewers, for the branch main only; protect main: pull requests, with the check `plan`.",
        "On AWS: the variables ONEBATON_AWS_REGION, ONEBATON_AWS_PLAN_ROLE (trusts this "
        "repository's pull requests and main) and ONEBATON_AWS_ROLLOUT_ROLE (trusts the "
        "environment), taken by OpenID Connect. No key is kept.",
        "If plans have to be signed (plans.require_signature): the variable ONEBATON_SIGN_KEY, a "
        "file of the runner.",
        "ONEBATON_REQUIREMENT in the workflows names what pip installs; ONEBATON_BAKE=false "
        "keeps pull requests from baking.",
    ),
    "gitlab": (
        _RUNNER + " Its tag is the CI/CD variable ONEBATON_RUNNER.",
        "The default branch protected, and the environment onebaton-ZONE protected with its "
        "approvals, where your edition has them.",
        "A pipeline schedule for the nightly doctor and drift.",
        "For comments: the masked CI/CD variable ONEBATON_GITLAB_TOKEN, a project access token "
        "with the scope api and an early end; without it the plan is a link in the merge request. "
        "A rollout finds the merge request with it too, where the job's own token may not.",
        "On AWS: the CI/CD variables ONEBATON_AWS_REGION, ONEBATON_AWS_PLAN_ROLE and "
        "ONEBATON_AWS_ROLLOUT_ROLE, taken by OpenID Connect. No key is kept.",
        "If plans have to be signed (plans.require_signature): the CI/CD variable "
        "ONEBATON_SIGN_KEY, a file of the runner.",
        "ONEBATON_REQUIREMENT in the pipeline names what pip installs; ONEBATON_BAKE=false "
        "keeps merge requests from baking.",
    ),
}
