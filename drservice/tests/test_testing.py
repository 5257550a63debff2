"""The test tools themselves: servers only on demand, processes that leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drservice.testing.managed_process import ManagedProcess, ProcessFailed, is_gone

ROOT = Path(__file__).resolve().parents[2]


BROWSER_TEST = """
import pytest

@pytest.mark.browser
def test_page():
    pass
"""


def run_pytest(directory: Path, test: str, code: int = 0, **environment: str) -> str:
    (directory / "test_probe.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_browser_tests_without_chromium_are_skipped_aloud_or_refused(tmp_path):
    without = {"PATH": str(tmp_path), "REQUIRE_BROWSER": "0"}
    skipped = run_pytest(tmp_path, BROWSER_TEST, **without)
    assert "1 skipped" in skipped
    assert "No Chromium was found: browser tests are skipped" in skipped
    required = {**without, "REQUIRE_BROWSER": "1"}
    refused = run_pytest(tmp_path, BROWSER_TEST, code=pytest.ExitCode.USAGE_ERROR, **required)
    assert "no Chromium was found" in refused


def test_plugin_starts_no_server_for_a_test_without_database(tmp_path):
    run_pytest(
        tmp_path,
        """
import os, psutil
from django.conf import settings

def test_probe():
    assert psutil.Process().children() == []
    assert settings.MONGODB_URI == os.environ["MONGODB_URI"]
    assert settings.REDIS_URL == os.environ["REDIS_URL"]
    assert "127.0.0.1:27017" not in settings.MONGODB_URI
""",
    )


def test_managed_process_waits_shows_output_and_ends_its_whole_group(tmp_path):
    program = (
        "import subprocess, time;"
        "print('child', subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    with ManagedProcess([sys.executable, "-c", program], log=tmp_path / "log") as process:
        child = int(process.wait_for_line(r"child (\d+)").group(1))
        with pytest.raises(ProcessFailed, match=r"0.1 s without /never/ .*\n.*child"):
            process.wait_for_line("never", timeout_s=0.1)
    assert is_gone(process.pid)
    assert is_gone(child)


def test_managed_process_that_ends_early_fails_with_its_last_lines(tmp_path):
    program = "raise SystemExit('no model here')"
    with (
        ManagedProcess([sys.executable, "-c", program], log=tmp_path / "log") as process,
        pytest.raises(ProcessFailed, match=r"ended before /ready/ (.|\n)*no model here"),
    ):
        process.wait_for_line("ready")
    assert process.wait_for_exit() == 1
