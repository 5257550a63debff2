"""Those who would append to one chain at once wait for each other, in and over processes."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

import pytest
import redis
from django.conf import settings
from django.db import connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.audit import turns
from accounts.audit.actions import Action
from accounts.audit.services import audit_record
from accounts.audit.turns import turn, word_leave, word_left
from accounts.audit.verification import chain_check
from accounts.models import Hospital
from accounts.tests.factories import make_hospital
from drservice.embedded.ports import free_port

pytestmark = pytest.mark.django_db

CHAIN = "chain of a test"
MARK, WORD = f"drservice:turn:{CHAIN}", f"drservice:turn:{CHAIN}:word"


@pytest.fixture
def server() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        yield client
        client.delete(MARK, WORD)
        turns._words.pop(CHAIN, None)


@pytest.fixture
def threads_as_processes(monkeypatch) -> None:
    """Let threads know no more of each other than processes do."""

    class NoLocks(dict):
        def setdefault(self, chain: str, default: Lock) -> Lock:
            return default

    monkeypatch.setattr(turns, "_locks", NoLocks())


@pytest.fixture(autouse=True)
def unhurried_redis(monkeypatch, server) -> None:
    """Let a busy machine take its time: Redis is here, and a turn may last."""
    monkeypatch.setattr(turns, "_redis", lambda: server)
    monkeypatch.setattr(turns, "_redis_left_alone_until", 0.0)


def view(hospital: Hospital, subject_id: str) -> None:
    audit_record(
        action=Action.VIEW, subject_kind="case", subject_id=subject_id, hospital_id=hospital.pk
    )


def test_turn_waits_for_that_of_another_process(server):
    server.set(MARK, "another's", px=30_000)
    entered = Event()

    def take() -> None:
        with turn(CHAIN):
            entered.set()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(take)
        assert not entered.wait(0.1)
        server.delete(MARK)
        waiting.result(timeout=30)
    assert entered.is_set()
    assert server.get(MARK) is None


def test_mark_of_a_process_that_died_runs_out(server):
    server.set(MARK, "a dead one's", px=50)
    with turn(CHAIN):
        assert server.get(MARK) not in (None, b"a dead one's")
        assert 0 < server.pttl(MARK) <= 1000 * turns.MARK_LIVES_S


def test_turn_goes_on_without_a_mark_that_never_goes(server, monkeypatch):
    monkeypatch.setattr(turns, "TURN_TIMEOUT_S", 0.05)
    server.set(MARK, "another's", px=30_000)
    with turn(CHAIN):
        assert server.exists(MARK)
    assert server.get(MARK) == b"another's"


def test_mark_that_ran_out_and_is_anothers_by_now_stays(server):
    with turn(CHAIN):
        server.set(MARK, "the next one's", px=30_000)
    assert server.get(MARK) == b"the next one's"


def test_next_turn_hears_what_the_one_before_has_left_also_in_another_process(server):
    with turn(CHAIN):
        assert word_left(CHAIN) == ""
        word_leave(CHAIN, "the first's")
    with turn(CHAIN):
        assert word_left(CHAIN) == "the first's"
    turns._words.clear()
    with turn(CHAIN):
        assert word_left(CHAIN) == "the first's"
    server.set(WORD, "another process's")
    with turn(CHAIN):
        assert word_left(CHAIN) == "another process's"


def test_turn_that_took_too_long_leaves_no_word(server):
    with turn(CHAIN):
        word_leave(CHAIN, "the slow one's")
        server.set(MARK, "the next one's", px=30_000)
        server.set(WORD, "the next one's")
    assert server.get(WORD) == b"the next one's"


def test_mark_goes_with_a_turn_that_failed(server):
    def fail() -> None:
        with turn(CHAIN):
            assert server.get(MARK) is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert server.get(MARK) is None
    assert not turns._locks[CHAIN].locked()


def test_without_redis_turns_are_done_and_it_is_left_alone_for_a_while(monkeypatch, caplog):
    asked = []

    def away() -> redis.Redis:
        asked.append(time.monotonic())
        address = f"redis://127.0.0.1:{free_port()}/0"
        return redis.Redis.from_url(address, socket_timeout=0.2, retry=Retry(NoBackoff(), 0))

    hospital = make_hospital()
    monkeypatch.setattr(turns, "_redis", away)
    for number in range(3):
        view(hospital, str(number))
    assert len(asked) == 1
    assert "turns_without_redis" in caplog.text
    assert chain_check(hospital.pk).fault is None


def test_processes_that_append_at_once_lose_no_try(
    threads_as_processes, tenant_commands, monkeypatch
):
    monkeypatch.setattr(turns, "MARK_LIVES_S", 60.0)
    hospital = make_hospital()
    began = chain_check(hospital.pk).events

    def work(thread: int) -> None:
        for number in range(5):
            view(hospital, f"{thread}-{number}")
        connection.close()

    with tenant_commands.recording() as commands, ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert [name for name, _ in commands].count("commitTransaction") == 20
    assert "abortTransaction" not in {name for name, _ in commands}
    found = chain_check(hospital.pk)
    assert found.fault is None
    assert found.events == began + 20
