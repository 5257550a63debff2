"""Limits on how often somebody may do something, counted in a real Redis."""

import threading

import pytest
from django.core.cache import cache
from redis.exceptions import ConnectionError as RedisConnectionError

from drservice.common.rate_limits import RateLimit, TooOften

pytestmark = pytest.mark.django_db


def limit(**changed) -> RateLimit:
    fields = {"name": "test", "most": 3, "window_s": 60, "refusal": "Wait a minute.", **changed}
    return RateLimit(**fields)


def test_limit_counts_each_person_and_each_thing_apart(caplog):
    cache.clear()
    for _ in range(3):
        limit().take("somebody")
    with pytest.raises(TooOften, match="Wait a minute"):
        limit().take("somebody")
    assert "rate_exceeded name=test who=somebody" in caplog.text
    limit().take("another")
    limit(name="other").take("somebody")


def test_room_is_asked_for_without_being_taken():
    cache.clear()
    for _ in range(5):
        limit().require_room("somebody")
    assert [limit().count("somebody") for _ in range(3)] == [1, 2, 3]
    with pytest.raises(TooOften):
        limit().require_room("somebody")
    limit().require_room("another")


def test_limit_forgets_when_its_window_is_over():
    cache.clear()
    for _ in range(3):
        limit().take("somebody")
    assert 0 < cache._cache.get_client().ttl(cache.make_key("rate:test:somebody")) <= 60
    cache.delete("rate:test:somebody")
    limit().take("somebody")


def test_window_that_ends_between_two_steps_begins_anew(monkeypatch):
    cache.clear()
    monkeypatch.setattr(cache, "add", lambda *arguments: True)
    for _ in range(3):
        limit().take("somebody")
    with pytest.raises(TooOften):
        limit().take("somebody")


def test_limit_holds_when_many_come_at_once():
    cache.clear()
    taken = []

    def take() -> None:
        try:
            limit(most=10).take("somebody")
            taken.append(True)
        except TooOften:
            taken.append(False)

    threads = [threading.Thread(target=take) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 20 + [True] * 10


def test_everybody_may_while_nothing_can_be_counted(monkeypatch, caplog):
    def away(*arguments):
        raise RedisConnectionError("refused")

    monkeypatch.setattr(cache, "add", away)
    for _ in range(5):
        limit().take("somebody")
    assert "rate_not_counted name=test" in caplog.text
