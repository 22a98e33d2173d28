"""Every test that the table of faults names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(?P<file>tests/[\w/]+\.py)?(?:::(?P<test>\w+))?(?P<case>\[[^\]]+\])?`")


def names_of_tests(path: str) -> set[str]:
    """Names of the tests of a file."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_is_there() -> None:
    named, path = 0, ""
    for line in (ROOT / "docs" / "faults.md").read_text().splitlines():
        for found in NAMED.finditer(line):
            path = found["file"] or path
            if found["file"]:
                assert (ROOT / path).is_file(), line
            if found["test"]:
                named += 1
                assert found["test"] in names_of_tests(path), line
            if found["case"] and found["test"]:
                # The id of a case: a name of its own, or a value it is made of.
                assert found["case"].strip("[]") in (ROOT / path).read_text(), line
    assert named > 60
