"""The test tools themselves: servers only on demand, processes that leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection
from django_mongodb_backend.transaction import atomic
from pymongo import MongoClient

from accounts.models import Hospital, Membership, User
from accounts.permissions import Role
from accounts.tests.factories import PASSWORD, make_hospital, make_member
from drservice import health
from drservice.testing.clearing import Clearing
from drservice.testing.managed_process import ManagedProcess, ProcessFailed, is_gone

ROOT = Path(__file__).resolve().parents[2]


BROWSER_TEST = """
import pytest

@pytest.mark.browser
def test_page():
    pass
"""


def run_pytest(directory: Path, test: str, code: int = 0, *more: str, **environment: str) -> str:
    (directory / "test_probe.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *more, "-c", str(ROOT / "pyproject.toml"), str(directory)],
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


def test_given_redis_is_not_shared_by_several_processes(tmp_path):
    given = {"TEST_REDIS_URL": "redis://127.0.0.1:1/0"}
    test = "def test_probe(): pass"
    refused = run_pytest(tmp_path, test, pytest.ExitCode.USAGE_ERROR, "-n", "2", **given)
    assert "make test TEST_WORKERS=0" in refused
    assert "1 passed" in run_pytest(tmp_path, test, 0, "-n", "0", **given)


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


@pytest.mark.django_db(transaction=True)
def test_what_any_process_wrote_is_cleared_and_nothing_else_is_touched(tenant_commands):
    redis_client = health.redis_client()
    clearing = Clearing(redis_client)
    clearing.clear()
    redis_client.set("a", "key")
    make_hospital()
    # Another client is as good as another process: nothing of it passes through this one's.
    uri = connection.settings_dict["HOST"]
    with MongoClient(uri) as elsewhere, elsewhere.start_session() as session:
        theirs = elsewhere[connection.settings_dict["NAME"]]
        theirs["images.files"].insert_one({"filename": "test/one"})
        with session.start_transaction():
            theirs["accounts_user"].insert_one({"email": "x"}, session=session)
        with tenant_commands.recording() as sent:
            clearing.clear()
        deleted = [body["delete"] for name, body in sent if name == "delete"]
        assert sorted(deleted) == ["accounts_hospital", "accounts_user", "images.files"]
        assert redis_client.keys() == []
        assert [theirs[name].count_documents({}) for name in deleted] == [0, 0, 0]
        assert theirs["django_migrations"].count_documents({}) > 0


def test_two_hospitals_are_as_the_services_would_make_them(two_hospitals):
    made = make_member(make_hospital(), Role.STAFF)
    staff = two_hospitals.a.staff
    assert User.objects.get(email=staff.email).check_password(PASSWORD)
    [mine], [theirs] = staff.memberships.all(), made.memberships.all()
    assert mine.hospital == two_hospitals.a.hospital
    for model, pk, other in (
        (Hospital, mine.hospital_id, theirs.hospital_id),
        (User, staff.pk, made.pk),
        (Membership, mine.pk, theirs.pk),
    ):
        assert kinds_of(stored(model, pk)) == kinds_of(stored(model, other))


def stored(model, pk) -> dict:
    return connection.database[model._meta.db_table].find_one({"_id": pk})


def kinds_of(document: dict) -> dict[str, type]:
    return {name: type(value) for name, value in document.items()}


@pytest.mark.django_db(transaction=True)
def test_whoever_leaves_a_transaction_open_is_told_so():
    with atomic(), pytest.raises(AssertionError, match="left a transaction open"):
        Clearing(health.redis_client()).clear()
