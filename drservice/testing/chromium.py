"""A pytest plugin: tests marked `browser` need a Chromium; without one they are skipped, aloud.

REQUIRE_BROWSER=1 makes a missing Chromium a failure: CI installs one.
"""

import os

import pytest

from drservice.embedded.binaries import find_chromium

MISSING = "No Chromium was found: browser tests are skipped (Debian: apt-get install chromium)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    browser_tests = [item for item in items if item.get_closest_marker("browser")]
    if not browser_tests or find_chromium():
        return
    if os.environ.get("REQUIRE_BROWSER", "0") not in ("", "0"):
        raise pytest.UsageError("REQUIRE_BROWSER is set, and no Chromium was found on PATH.")
    for item in browser_tests:
        item.add_marker(pytest.mark.skip(reason=MISSING))
