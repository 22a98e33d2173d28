"""Reads the file with rules for taking user data out of a clone.

.. code-block:: yaml

    rules:
      - {table: user_pool, element: //EMAIL, action: replace, with: "user-{id}@example.org"}
      - {table: vm_pool, element: /VM/TEMPLATE/CONTEXT/*, action: blank}
      - {table: user_pool, element: /USER/NAME, action: hash}
"""

import re
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from onebaton.adapters.bodyxml import selector
from onebaton.cloning import ScrubAction, ScrubRule
from onebaton.config import Section
from onebaton.errors import ConfigError

#: Tables whose rows hold a body with elements.
_TABLE = re.compile(r"[a-z_]+_pool|history|user_quotas|group_quotas|hook_log")
#: Two objects may not have the same name.
_NAMES = re.compile(r"/[A-Z_*]+/NAME|//NAME")


class _Rule(Section):
    table: str
    element: str
    action: ScrubAction
    text: str | None = Field(default=None, alias="with")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        selector(self.element)
        if not _TABLE.fullmatch(self.table):
            raise ValueError(f"{self.table} is no table with objects")
        if (self.text is not None) != (self.action == "replace"):
            raise ValueError("with: stands beside action: replace, and only there")
        keeps_apart = self.action == "hash" or "{id}" in (self.text or "")
        if _NAMES.fullmatch(self.element) and not keeps_apart:
            raise ValueError("names must differ: take action: hash, or replace with {id}")
        return self


class _Rules(Section):
    rules: tuple[_Rule, ...] = Field(strict=False)


def read(path: Path) -> tuple[ScrubRule, ...]:
    """The rules of a file, in its order.

    :raises ConfigError: if it cannot be read, or has mistakes; all are listed.
    """
    again = "Correct it (`clones.scrub` in cluster.yaml names it), then run the command again."
    try:
        data = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the rules {path} cannot be read: {error.strerror}", resolution=again
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not YAML", details=[str(error).splitlines()[0]], resolution=again
        ) from None
    try:
        rules = _Rules.model_validate(data).rules
    except ValidationError as error:
        raise ConfigError(
            f"{path} has mistakes",
            details=[
                f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: "
                f"{problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors(include_url=False, include_input=False)
            ],
            resolution=again,
        ) from None
    return tuple(
        ScrubRule(rule.table, rule.element, rule.action, rule.text or "") for rule in rules
    )
