"""The command: finds the module of the first word, and turns what goes wrong into a status.

This is the only place where an exception becomes a message and an exit status. It imports
nothing that is slow: the help of the whole command is a table here, typer reads the words of
one command, and every other library waits until something uses it.
"""

import importlib
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from onebaton import __version__
from onebaton.errors import OnebatonError, Status, UsageError

#: First words and what they do. Each is a module of ``onebaton.commands`` with its ``app``.
COMMANDS = {
    "init": "write a commented cluster.yaml to begin with",
    "config": "check a cluster.yaml, or print its JSON Schema",
    "bake": "bake an image of a front-end, and test it",
    "images": "list, show, promote, revoke and prune the images that were baked",
    "bootstrap": "found a new zone from an image",
    "plan": "show what a rollout would do, and why",
    "rehearse": "try a change of the database schema on a copy",
    "clone": "make and destroy fenced copies of the zone, to try things on",
    "rollout": "bring the zone onto the configured image, step by step",
    "continue": "approve the stage that a rollout waits before, and go on",
    "abort": "give a half-done rollout up: back to the generation it began with",
    "rollback": "take the last cut-over back: the old generation serves again",
    "finalize": "give up the generation that the last cut-over left",
    "park": "take a follower out of service; its id is kept",
    "unpark": "bring a parked server back into service",
    "replace": "replace a failed or suspect node by a new one from the same image",
    "status": "show the zone, its servers and their nodes",
    "report": "list the reports of all runs, or show one",
    "doctor": "examine the zone before a rollout: what stands in the way",
    "drift": "tell what is not as the configuration says",
    "destroy": "destroy all nodes of the cluster",
    "version": "print the version",
}


def run() -> NoReturn:
    """Entry point of the installed command."""
    # A cancelled pipeline and a closed terminal end a run as ^C does: by way of every
    # "finally", so that no program we started is left behind.
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Carry out one command line.

    :param argv: its words, without the command's own name.
    :returns: the exit status.
    """
    try:
        return _carry_out(argv)
    except OnebatonError as error:
        from onebaton.ui.messages import error_block

        sys.stderr.write(error_block(error))
        return error.status
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:  # noqa: BLE001 - whatever it is, it has an end here
        return _bug(error)


def _carry_out(argv: Sequence[str]) -> int:
    match argv:
        case []:
            sys.stderr.write(_help())
            return Status.USAGE
        case ["--help" | "-h" | "help", *_]:
            sys.stdout.write(_help())
            return Status.OK
        case ["--version", *_]:
            argv = ["version"]
    name = argv[0]
    if name not in COMMANDS:
        raise _unknown(name)
    app = importlib.import_module(f"onebaton.commands.{name}").app
    try:
        app(args=argv[1:], prog_name=f"onebaton {name}")
    except SystemExit as end:
        if end.code == Status.INTERRUPTED:
            return _interrupted()
        return end.code if isinstance(end.code, int) else Status.OK
    return Status.OK


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            f"onebaton {__version__}: replaces an OpenNebula control plane, never upgrades it.",
            "",
            "Usage: onebaton COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "onebaton COMMAND --help tells more.",
            "",
        ]
    )


def _unknown(name: str) -> UsageError:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    return UsageError(
        f"there is no command {name!r}",
        resolution=f"Did you mean {close[0]!r}?" if close else "See: onebaton --help",
    )


def _interrupted() -> int:
    sys.stderr.write("interrupted\n")
    return Status.INTERRUPTED


def _bug(error: Exception) -> int:
    """One line on the screen, the rest in a file that only its owner may read.

    Neither shows the values of variables, and the line not even the exception's text: both
    might be secrets.
    """
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="onebaton-", suffix=".traceback", encoding="utf-8", delete=False
        ) as file:
            file.writelines(traceback.format_exception(error))
        where = f"a traceback was written to {file.name}"
    except OSError as problem:
        where = f"a traceback could not be written: {problem.strerror}"
    sys.stderr.write(f"error: onebaton has a bug ({type(error).__name__}); {where}\n")
    return Status.BUG


if __name__ == "__main__":
    run()
