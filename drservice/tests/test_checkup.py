"""The doctor: what is well is said so, what is broken comes with its cure, and it never falls."""

import datetime as dt
from types import SimpleNamespace

import pymongo
import pytest
from django.core.management import call_command

from accounts.keys.sealing import seal
from accounts.tests.factories import make_hospital
from drservice.embedded.ports import free_port
from drservice.settings import base
from drservice.supervisor import checkup
from drservice.supervisor.checkup import Finding, Note, Problem, Question, State, check_up
from drservice.testing.managed_process import ManagedProcess


def answer(text: str):
    return lambda: text


def fail(error: Exception):
    def ask() -> str:
        raise error

    return ask


@pytest.fixture
def questions(monkeypatch):
    return lambda *asked: monkeypatch.setattr(checkup, "QUESTIONS", asked)


def test_check_up_asks_on_after_a_failure_but_not_what_hangs_on_it(questions):
    questions(
        Question("disk", answer("9 GB")),
        Question("mongodb", fail(Problem("It is away.", "Start it."))),
        Question("replica set", answer("never asked"), needs="mongodb"),
        Question("redis", fail(ValueError("odd\nlong story"))),
        Question("chromium", fail(Note("Not there.", "Install it."))),
    )
    assert list(check_up()) == [
        Finding("disk", State.OK, "9 GB"),
        Finding("mongodb", State.PROBLEM, "It is away.", "Start it."),
        Finding("replica set", State.PROBLEM, "Not asked: needs mongodb."),
        Finding("redis", State.PROBLEM, "ValueError: odd", checkup.START),
        Finding("chromium", State.NOTE, "Not there.", "Install it."),
    ]


def test_doctor_exits_with_1_for_a_problem_and_not_for_a_note(questions, capsys):
    questions(Question("chromium", fail(Note("Not there.", "Install it."))))
    call_command("doctor")
    said = " ".join(capsys.readouterr().out.split())
    assert said == "note chromium Not there. Install it."
    questions(Question("disk", fail(Problem("Full.", "Free some."))))
    with pytest.raises(SystemExit) as ended:
        call_command("doctor")
    assert ended.value.code == 1


def test_packages_differ_from_the_lock_when_one_is_of_another_version(monkeypatch):
    assert "as locked" in checkup.packages()
    monkeypatch.setattr(checkup, "_installed", {"torch": "2.14.1"}.get)
    with pytest.raises(Problem, match="packages are missing or of another version"):
        checkup.packages()


def test_full_disk_is_a_problem(monkeypatch, tmp_path, settings):
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(checkup, "MIN_FREE_BYTES", 1e18)
    with pytest.raises(Problem, match="GB are free"):
        checkup.disk()


def test_server_that_a_variable_names_and_that_is_away_is_told_from_an_embedded_one(
    monkeypatch, settings
):
    monkeypatch.setattr(checkup, "SERVER_TIMEOUT_MS", 100)
    settings.MONGODB_URI = "mongodb://127.0.0.1:1/?replicaSet=rs0"
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(Problem, match="MONGODB_URI names does not answer"):
        checkup.mongodb()
    with pytest.raises(Problem, match="REDIS_URL names does not answer"):
        checkup.redis_server()
    for variable in ("MONGODB_URI", "REDIS_URL"):
        monkeypatch.delenv(variable)
    with pytest.raises(Problem, match="embedded mongod is not running") as away:
        checkup.mongodb()
    assert away.value.cure == checkup.START
    monkeypatch.setitem(checkup.FINDERS, "redis-server", lambda: "/bin/false")
    with pytest.raises(Problem, match="/bin/false does not run"):
        checkup.redis_server()


@pytest.mark.django_db
def test_records_and_photographs_are_found_well_on_real_servers(settings, monkeypatch):
    options = base.DATABASES["default"]["OPTIONS"]
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", options)
    assert "version" in checkup.mongodb()
    assert "rs0, 1 member(s)" in checkup.replica_set()
    assert "s from MongoDB's" in checkup.clock()
    assert "majority and journal" in checkup.write_concern()
    assert checkup.migrations() == "all applied"
    assert "written, read and deleted" in checkup.image_storage()
    assert "append-only file" in checkup.redis_server()
    with pytest.raises(Problem, match="No grading worker is running"):
        checkup.worker()
    with pytest.raises(Problem, match="can't be seen"):
        checkup.beat()
    settings.MONGODB_URI += "&w=1"
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", {})
    with pytest.raises(Problem, match="one lost node may lose a case"):
        checkup.write_concern()


@pytest.mark.django_db
def test_clock_that_is_not_that_of_mongodb_is_a_problem(monkeypatch):
    class FastClock(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + dt.timedelta(seconds=60)

    monkeypatch.setattr(checkup, "dt", SimpleNamespace(datetime=FastClock, UTC=dt.UTC))
    with pytest.raises(Problem, match="60 s apart"):
        checkup.clock()


@pytest.mark.processes
def test_standalone_mongod_is_no_replica_set(tmp_path, settings):
    port = free_port()
    command = [checkup.find_mongod(), "--dbpath", str(tmp_path), "--port", str(port),
               "--bind_ip", "127.0.0.1", "--nounixsocket"]  # fmt: skip
    with ManagedProcess(command, log=tmp_path / "log"):
        settings.MONGODB_URI = f"mongodb://127.0.0.1:{port}"
        with pymongo.MongoClient(settings.MONGODB_URI) as client:
            client.admin.command("ping")
        with pytest.raises(Problem, match="no real transactions") as standalone:
            checkup.replica_set()
    assert "--replSet" in standalone.value.cure


@pytest.mark.django_db
def test_keys_that_the_master_key_does_not_open_are_a_problem(settings):
    seal("a name", hospital_id=make_hospital().pk)
    assert checkup.keys().startswith("1 open with the master key ")
    first = settings.MASTER_KEYS[0]
    settings.MASTER_KEYS = ["another-master-key-0123456789-abcdefghijklmnop"]
    with pytest.raises(Problem, match="not among those set") as refused:
        checkup.keys()
    assert "docs/keys.md" in refused.value.cure
    settings.MASTER_KEYS = [*settings.MASTER_KEYS, first]
    with pytest.raises(Note, match="1 of 1 keys are locked by an older master key"):
        checkup.keys()
    settings.MASTER_KEYS = []
    with pytest.raises(Problem, match="No master key is set"):
        checkup.keys()
