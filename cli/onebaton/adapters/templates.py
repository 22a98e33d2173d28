"""Jinja2, strict: a variable that nobody gave is an error with a place, not an empty string."""

import html
import json
import re
import traceback
from collections.abc import Mapping
from pathlib import Path

import jinja2

from onebaton.adapters.parts import part
from onebaton.errors import ConfigError

#: What Markdown would take for its own: anywhere, and at the beginning of a line.
_SPECIAL = re.compile(r"[\\`*_{}\[\]|~$]|^[#+-]|^\d+(?=[.)]\s)")


class Templates:
    """Renders the files under ``templates/``.

    :param folder: another folder of templates.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or part("templates")
        # What is rendered are configuration files and HCL, never HTML: escaping would break
        # them. Values are quoted where they are used, by the filters ``hcl`` and ``md``.
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(self._folder),
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # noqa: S701 - see above
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["hcl"] = hcl
        self._environment.filters["md"] = md

    def render(self, name: str, variables: Mapping[str, object]) -> str:
        """A template's text.

        :param name: path below ``templates/``, e.g. ``packer/podman.pkr.hcl.j2``.
        :raises ConfigError: if a variable is missing, or the template is missing or broken.
        """
        try:
            return self._environment.get_template(name).render(variables)
        except jinja2.UndefinedError as error:
            place = self._place(name, error)
            raise ConfigError(
                f"{place}: {error.message}",
                details=[f"variables given: {', '.join(sorted(variables)) or 'none'}"],
                resolution="Give the template this variable, or correct its name.",
            ) from error
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(
                f"{self._folder / (error.name or name)}, line {error.lineno}: {error.message}",
                resolution="Correct the template.",
            ) from error
        except jinja2.TemplateNotFound as error:
            raise ConfigError(
                f"there is no template {self._folder / (error.name or name)}",
                resolution="Install onebaton anew.",
            ) from error

    def _place(self, name: str, error: jinja2.UndefinedError) -> str:
        """Template and line; Jinja2 leaves them in the traceback only."""
        inside = [
            f"{frame.filename}, line {frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).is_relative_to(self._folder)
        ]
        return inside[-1] if inside else str(self._folder / name)


def hcl(value: object) -> str:
    """A string, number, boolean or list of them as HCL2, nothing in it interpolated."""
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def md(value: object) -> str:
    """A text inside of Markdown: one line that shows as it is, and calls nobody.

    An ``@name`` would send somebody mail: an invisible character keeps it from being one.
    """
    line = " ".join(str(value).split())
    marked = html.escape(_SPECIAL.sub(_escaped, line), quote=False)
    return marked.replace("@", "@\u200b")


def _escaped(found: re.Match[str]) -> str:
    """Behind a backslash; a number keeps its digits, and not its dot is one of a list."""
    text = found[0]
    return f"{text}\\" if text.isdigit() else f"\\{text}"
