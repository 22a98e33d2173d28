"""Where Terraform gets its AWS provider on this machine: a mirror, or the registry."""

import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What Terraform itself looks into on Linux (its documentation, Implied Local Mirror Directories).
IMPLIED = (
    "~/.terraform.d/plugins",
    "~/.local/share/terraform/plugins",
    "/usr/local/share/terraform/plugins",
    "/usr/share/terraform/plugins",
)
#: Where people put mirrors; looked through to this depth.
USUAL = ("/opt", "/srv", "/usr/local/lib", "/usr/local/share", "/usr/share", "/var/lib", "~")
DEPTH = 2
#: As the module names it.
PROVIDER = Path("registry.terraform.io") / "hashicorp" / "aws"
#: What was downloaded once is not downloaded for each module.
CACHE = ROOT / ".cache" / "terraform-plugins"


@dataclass(frozen=True)
class Provider:
    """Where it comes from.

    :ivar words: for people.
    :ivar env: what Terraform needs in its environment to find it.
    """

    words: str
    env: dict[str, str]


def own_settings() -> Path | None:
    """Terraform's settings file of whoever runs the tests, if there is one."""
    named = os.environ.get("TF_CLI_CONFIG_FILE")
    path = Path(named) if named else Path.home() / ".terraformrc"
    return path if path.is_file() else None


def mirrors() -> list[Path]:
    """Folders of this machine that hold the provider, the first one first."""
    found = [Path(folder).expanduser() for folder in IMPLIED]
    for root in USUAL:
        start = Path(root).expanduser()
        for folder, folders, _ in os.walk(start):
            deep = len(Path(folder).relative_to(start).parts) >= DEPTH
            folders[:] = [] if deep else [name for name in folders if not name.startswith(".git")]
            found.append(Path(folder))
    return [folder for folder in found if (folder / PROVIDER).is_dir()]


@functools.cache
def aws_provider() -> Provider:
    """Where the provider comes from: the settings of this machine, a mirror, or the registry."""
    own = own_settings()
    if own is not None:
        return Provider(f"as {own} says", {"TF_CLI_CONFIG_FILE": str(own)})
    CACHE.mkdir(parents=True, exist_ok=True)
    for mirror in mirrors():
        settings = CACHE / "mirror.tfrc"
        # Another process's Terraform may be reading it.
        new = settings.with_suffix(f".{os.getpid()}")
        new.write_text(
            "provider_installation {\n"
            f'  filesystem_mirror {{\n    path    = "{mirror}"\n'
            '    include = ["registry.terraform.io/*/*"]\n  }\n}\n'
        )
        new.replace(settings)
        versions = sorted(entry.name for entry in (mirror / PROVIDER).iterdir())
        words = f"{', '.join(versions)} from the mirror {mirror}"
        return Provider(words, {"TF_CLI_CONFIG_FILE": str(settings)})
    return Provider(
        "from Terraform's registry",
        {"TF_CLI_CONFIG_FILE": "", "TF_PLUGIN_CACHE_DIR": str(CACHE)},
    )


@functools.cache
def problem() -> str | None:
    """Why the provider cannot be had; ``None`` if it can.

    What a mirror of this machine lacks is no reason to skip a test: it fails, and says so.
    """
    if shutil.which("terraform") is None:
        return "terraform is not on PATH"
    if own_settings() is None and mirrors():
        return None
    with tempfile.TemporaryDirectory() as folder:
        for path in (ROOT / "terraform" / "aws").glob("*.tf"):
            shutil.copy(path, folder)
        done = subprocess.run(
            ["terraform", "init", "-input=false", "-no-color"],
            check=False,
            cwd=folder,
            env={**os.environ, **aws_provider().env},
            capture_output=True,
            text=True,
            timeout=300,
        )
    if done.returncode == 0:
        return None
    return f"{aws_provider().words}: {(done.stderr or done.stdout).strip()}"
