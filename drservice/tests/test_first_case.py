"""The first case of a start, against the real pages; grading itself is `make run`'s to show."""

import os
import subprocess
import sys

import pytest

from accounts.scoping import hospital_scope
from accounts.selectors import hospital_by_name
from drservice.embedded.ports import reserve_port
from drservice.supervisor import first_case
from drservice.supervisor.first_case import Account, submit_cases, synthetic_case
from workspace.demo import HOSPITALS, demo_create, demo_start_check_account
from workspace.models import Case
from workspace.schemas import CaseState


@pytest.fixture
def account(transactional_db) -> Account:
    demo_create()
    return Account(*demo_start_check_account())


@pytest.mark.django_db(transaction=True)
def test_case_goes_through_sign_in_upload_and_submit_as_a_person_would(
    live_server, account, monkeypatch
):
    monkeypatch.setattr(first_case, "CASE_TIMEOUT_S", 0)
    monkeypatch.setattr(first_case, "SYNTHETIC_SIZE_PX", (400, 300))
    uploads = synthetic_case()
    said = []
    (waiting,) = submit_cases(live_server.url, account, [uploads], said.append)
    assert "still queued" in waiting.status["reason"]
    assert said == ["case 1 of 1: refused"]
    (case,) = stored_cases()
    assert case.state == CaseState.QUEUED
    assert sorted(image.laterality for image in case.images) == ["OD", "OS"]
    assert [image.size_bytes for image in case.images] == [len(one.content) for one in uploads]

    # The same bytes again, as at a second start with the same folder: the case is found again.
    (again,) = submit_cases(live_server.url, account, [uploads], said.append)
    assert "still queued" in again.status["reason"]
    assert [case.pk for case in stored_cases() if case.images] == [case.pk]

    damaged = [first_case.Upload("1_left.jpg", b"no picture"), uploads[1]]
    (refused,) = submit_cases(live_server.url, account, [damaged], said.append)
    assert "1_left.jpg" in refused.status["reason"]

    stranger = Account(account.email, "wrong password")
    with pytest.raises(first_case.PageError, match="don't fit together"):
        submit_cases(live_server.url, stranger, [uploads], said.append)


def stored_cases() -> list[Case]:
    with hospital_scope(hospital_by_name(HOSPITALS["north"]).pk):
        return list(Case.objects.filter(state=CaseState.QUEUED))


@pytest.mark.parametrize("trouble", ["folder", "port"])
def test_run_demo_refuses_before_anything_is_started(tmp_path, trouble):
    environment = {**os.environ, "VAR_DIR": str(tmp_path / "var")}
    command = [sys.executable, "manage.py", "run_demo", "--once"]
    with reserve_port() as holder:
        options = {
            "folder": ["--images", str(tmp_path / "nowhere")],
            "port": ["--port", str(holder.getsockname()[1])],
        }
        done = subprocess.run(
            [*command, *options[trouble]], env=environment, capture_output=True, text=True
        )
    assert done.returncode == 1
    assert {"folder": "is not a folder", "port": "is taken"}[trouble] in done.stderr
    assert not (tmp_path / "var" / "log").exists()
