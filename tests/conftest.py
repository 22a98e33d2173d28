"""Which tests share something: two processes run them, and each keeps what shares one place."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One file, one process; one zone of several files, one process as well."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "machines" in fixtures:
            group = "the zone of tests/faults"
        elif "lab" in fixtures and "e2e" in item.path.parts:
            group = "the zone of tests/e2e"
        else:
            group = str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
