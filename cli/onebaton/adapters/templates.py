"""Jinja2, strict: a variable that nobody gave is an error with a place, not an empty string."""

import json
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import jinja2

from onebaton.adapters.parts import part
from onebaton.errors import ConfigError

#: What Markdown would take for its own: anywhere, and at the beginning of a line.
_MARKUP = re.compile(r"[\\`*_{}\[\]<>|#~$&]|^[+-]|^\d+(?=[.)]\s)")


class Templates:
    """Renders the files under ``templates/``.

    :param folder: another folder of templates.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or part("templates")
        # Escaping is for HTML; it would break configuration files and HCL. There, values are
        # quoted where they are used, by filters.
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(self._folder),
            undefined=jinja2.StrictUndefined,
            autoescape=jinja2.select_autoescape(("html.j2",), default=False),
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "hcl": hcl,
            "md": markdown,
            "moment": moment,
            "of_day": of_day,
            "seconds": seconds,
        }

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

    def text(self, name: str) -> str:
        """A file that is taken as it is.

        :param name: path below ``templates/``, e.g. ``pipelines/scripts/plan.sh``.
        :raises ConfigError: if it is missing.
        """
        try:
            return (self._folder / name).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"there is no file {self._folder / name}", resolution="Install onebaton anew."
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


def markdown(value: object) -> str:
    """A text in Markdown, also in a table's cell: nothing in it is markup, and it calls nobody.

    An ``@name`` would send somebody mail: an invisible character keeps it from being one.
    """
    line = " ".join(str(value).split())
    return _MARKUP.sub(_escaped, line).replace("@", "@\u200b")


def _escaped(found: re.Match[str]) -> str:
    """Behind a backslash; of the number of a list, its dot is."""
    text = found[0]
    return f"{text}\\" if text.isdigit() else f"\\{text}"


def moment(at: float) -> str:
    """``2026-11-22 14:15:00``, UTC.

    :param at: seconds since the epoch.
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def of_day(at: float | None, ms: bool = False) -> str:
    """``14:15:00``, UTC; a dash where there is none.

    :param at: seconds since the epoch.
    :param ms: with milliseconds.
    """
    if at is None:
        return "-"
    text = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")
    return text[:-3] if ms else text[:-7]


def seconds(lasts_s: float | None) -> str:
    """``4.1 s``, ``2 min 05 s`` from a hundred seconds on; a dash where there is none."""
    if lasts_s is None:
        return "-"
    if lasts_s < 100:
        return f"{lasts_s:.1f} s"
    minutes, rest = divmod(round(lasts_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
