"""Fetches secrets from where the configuration says they are.

A message names the key and the place, never what was found there: neither a file's content
nor what a command printed.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from onebaton.adapters import process
from onebaton.config import SecretsConfig, SecretSource
from onebaton.errors import ConfigError, DeadlineError, UnavailableError
from onebaton.model import Secret
from onebaton.ports import Reporter

USUAL = SecretsConfig()
#: A command may ask a vault over the network, and no more.
COMMAND_TIMEOUT_S = 60.0


def resolve(
    source: SecretSource,
    *,
    key: str,
    reporter: Reporter,
    environ: Mapping[str, str] | None = None,
    aws: SecretsConfig = USUAL,
) -> Secret:
    """The secret: the first line of what its source holds.

    :param key: the configuration's key, for messages, e.g. ``zone.credentials.password``.
    :param environ: by default this process's environment.
    :param aws: how AWS is asked.
    :raises ConfigError: if there is nothing, or the source cannot be read.
    :raises UnavailableError: if the command cannot be started, or AWS does not give it.
    :raises DeadlineError: if the command or AWS does not end in time.
    """
    place, text = _found(source, key, reporter, os.environ if environ is None else environ, aws)
    lines = text.splitlines()
    secret = lines[0].strip() if lines else ""
    if not secret:
        raise ConfigError(
            f"{key}: {place} is empty or not there",
            resolution="Put the secret on its first line, then run the same command again.",
        )
    return Secret(secret)


def resolve_whole(
    source: SecretSource,
    *,
    key: str,
    reporter: Reporter,
    environ: Mapping[str, str] | None = None,
    aws: SecretsConfig = USUAL,
) -> Secret:
    """The secret where it takes more than a line: all that its source holds.

    :param key: what it is for, in messages, e.g. ``--sign-key``.
    :param aws: how AWS is asked.
    :raises ConfigError: if there is nothing, or the source cannot be read.
    """
    place, text = _found(source, key, reporter, os.environ if environ is None else environ, aws)
    if not text.strip():
        raise ConfigError(
            f"{key}: {place} is empty or not there",
            resolution="Put the secret there, then run the same command again.",
        )
    return Secret(text)


def _found(
    source: SecretSource,
    key: str,
    reporter: Reporter,
    environ: Mapping[str, str],
    aws: SecretsConfig,
) -> tuple[str, str]:
    """Where it is looked for, in words, and what is there."""
    if source.file is not None:
        return f"the file {source.file}", _from_file(source.file, key, reporter)
    if source.env is not None:
        return f"the environment variable {source.env}", environ.get(source.env, "")
    if source.ssm is not None:
        # Imported where it is used: the library is large.
        from onebaton.adapters.aws_secrets import from_parameter_store

        text = from_parameter_store(source.ssm, key=key, config=aws)
        return f"the parameter {source.ssm}", text
    if source.secretsmanager is not None:
        from onebaton.adapters.aws_secrets import from_secrets_manager

        text = from_secrets_manager(source.secretsmanager, key=key, config=aws)
        return f"the secret {source.secretsmanager}", text
    words = source.command or ()
    return f"the output of {words[0]}", _from_command(words, key)


def keep_from_programs(*sources: SecretSource | None) -> None:
    """Give the environment variables among these to no program that we start.

    Packer, Terraform and what they start in turn need none of them.
    """
    for source in sources:
        if source is not None and source.env is not None:
            process.withhold(source.env)


def _from_file(path: Path, key: str, reporter: Reporter) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except UnicodeDecodeError:
        raise ConfigError(
            f"{key}: the file {path} is not text in UTF-8",
            resolution="Put the secret on its first line, then run the same command again.",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{key}: the file {path} cannot be read: {error.strerror}",
            resolution="Put the secret on its first line, then run the same command again.",
        ) from None
    if mode & stat.S_IROTH:
        reporter.warn(f"{key}: everybody may read {path}; run: chmod 600 {path}")
    return text


def _from_command(words: Sequence[str], key: str) -> str:
    what = f"{key}: the command {words[0]}"
    try:
        completed = process.run(words, timeout_s=COMMAND_TIMEOUT_S, check=False)
    except DeadlineError:
        # Its own details hold what the command printed.
        raise DeadlineError(
            f"{what} did not end within {COMMAND_TIMEOUT_S:g} s",
            resolution="Run it by hand to see what it waits for; it must not ask questions.",
        ) from None
    except UnavailableError as error:
        raise UnavailableError(f"{key}: {error.message}", resolution=error.resolution) from None
    if completed.status != 0:
        raise ConfigError(
            f"{what} failed with status {completed.status}",
            resolution="Run it by hand to see why; its output is not shown here.",
        )
    return completed.stdout
