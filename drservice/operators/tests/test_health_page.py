"""The health page: every part, what waits, and no more than that."""

import datetime as dt
import re

import pytest
import redis
from django.utils import timezone

from accounts.scoping import hospital_scope
from drservice.celery import app
from drservice.operators import installation
from drservice.operators.words import age_in_words, bytes_in_words
from drservice.supervisor.checkup import QUESTIONS
from inference.worker_status import WorkerStatus, status_remove, status_write
from workspace.models import Case
from workspace.schemas import CaseState
from workspace.tests.factories import make_patient, make_queued_case


@pytest.fixture
def operator(two_hospitals, client_of):
    return client_of(two_hospitals.operator)


@pytest.fixture
def told_worker(redis_service):
    """Let one worker say of itself that it is ready."""
    status = WorkerStatus(
        "node-7", True, "", "dr:4", "openvino-cpu-int8", 3, timezone.now().timestamp()
    )
    status_write(status)
    yield status
    status_remove(status.worker)


def age_case(case: Case, **fields) -> None:
    with hospital_scope(case.hospital_id):
        Case.objects.filter(pk=case.pk).update(**fields)


def row_of(page, name: str) -> list[str]:
    """Return the cells of a hospital's row."""
    [row] = [row for row in page.text.split("<tr") if f">{name}</a>" in row]
    return re.findall(r">([^<>]+)</td>", row)


def test_every_asked_part_is_one_of_the_doctors():
    assert {question.subject for question in QUESTIONS} >= installation.SUBJECTS


def test_page_names_parts_workers_and_engines(operator, told_worker):
    page = operator.get("/operators/health/")
    for word in ("Replica set", "Redis", "Migrations", "Disk", "Database", "its disk is"):
        assert word in page.text
    for word in ("node-7", "dr:4", "openvino-cpu-int8", "Ready"):
        assert word in page.text


def test_page_counts_what_waits_and_what_failed_by_age(operator, two_hospitals):
    hospital, now = two_hospitals.a.hospital, timezone.now()
    patient = make_patient(hospital)
    make_queued_case(patient)
    for age in (dt.timedelta(minutes=5), dt.timedelta(hours=30)):
        age_case(make_queued_case(patient), submitted_at=now - age)
    age_case(
        make_queued_case(patient), state=CaseState.FAILED, submitted_at=now - dt.timedelta(days=3)
    )
    page = operator.get("/operators/health/")
    assert row_of(page, "Hospital A") == [
        "1 up to 1 min, 1 up to 15 min, 1 longer",
        "1 this week",
        "1 day",
    ]
    assert ">Hospital B</a>" not in page.text


def test_page_is_shown_while_redis_is_away(operator, monkeypatch):
    def away():
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(installation, "redis_client", away)
    page = operator.get("/operators/health/")
    assert page.status_code == 200
    assert "Redis doesn't answer" in page.content.decode().replace("&#x27;", "'")


def test_queues_are_counted_in_every_priority(redis_service, settings):
    before = installation.queue_lengths()
    for priority in (0, 4, 9):
        app.send_task("nobody.listens", queue="training", priority=priority)
    try:
        assert installation.queue_lengths()["training"] == before["training"] + 3
    finally:
        with app.connection_for_write() as connection:
            connection.default_channel.queue_purge("training")
    assert installation.queue_lengths()["training"] == 0


def test_page_asks_again_only_in_the_background(operator):
    page = operator.get("/operators/health/")
    assert 'hx-trigger="every 10s"' in page.text
    assert "X-Background" in page.text
    assert '<noscript><meta http-equiv="refresh"' in page.text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7300, "2 h"), (86_400, "1 day"), (9e5, "10 days")],
)
def test_ages_are_said_in_their_largest_unit(seconds, words):
    now = timezone.now()
    assert age_in_words(now - dt.timedelta(seconds=seconds), now) == words
    assert age_in_words(now + dt.timedelta(seconds=1), now) == "0 s"


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (3900, "3.9 kB"),
        (500 * 10**9, "500 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_are_said_in_units_of_a_thousand(size, words):
    assert bytes_in_words(size) == words
