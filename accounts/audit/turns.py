"""Turns at a chain: whoever would append at the same time waits, instead of losing and repeating.

Of two transactions that append to one chain the database lets one begin again, and what that one
did until then was for nothing. Here threads of a process wait for each other at a lock, and
processes at a mark in Redis. No chain depends on either: a turn that doesn't come in time, and any
while Redis is away, is done without, and the database decides.

Whoever ends a turn leaves word of where the chain ends now, so that the next one need not look.
Word is never believed: the head is compared with it in the very command that moves the head.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

# How long to let others append first, and how long the mark of a process that died stays.
TURN_TIMEOUT_S = 5.0
MARK_LIVES_S = 2.0
# Between two looks whether the mark is gone. A turn takes some 5 ms.
LOOK_EVERY_MS = (1, 4)
# Redis may cost an event so much, and then nothing for a while.
REDIS_TIMEOUT_S = 0.2
REDIS_LEFT_ALONE_S = 10.0
# How long word of a chain's end is of use to anybody.
WORD_LIVES_S = 3600
# Take a mark away and leave word, unless the mark has run out and is somebody else's by now.
_TAKE_AWAY = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then redis.call('set', KEYS[2], ARGV[2], 'EX', ARGV[3]) end
return redis.call('del', KEYS[1])
"""

_locks: dict[str, Lock] = {}
_words: dict[str, str] = {}
_redis_left_alone_until = 0.0


@contextmanager
def turn(chain: str) -> Iterator[None]:
    """Run a block while nobody else of those who take turns appends to the chain."""
    deadline = time.monotonic() + TURN_TIMEOUT_S
    lock = _locks.setdefault(chain, Lock())
    taken = lock.acquire(timeout=TURN_TIMEOUT_S)
    try:
        with _mark(chain, deadline):
            yield
    finally:
        if taken:
            lock.release()


def word_left(chain: str) -> str:
    """Return what the turn before this one has left about a chain, empty when nobody knows."""
    return _words.get(chain, "")


def word_leave(chain: str, word: str) -> None:
    """Leave word for the next turn, in this process at once and in others when the turn ends."""
    _words[chain] = word


@contextmanager
def _mark(chain: str, deadline: float) -> Iterator[None]:
    token = secrets.token_hex(8)
    taken = _asked_redis(lambda: _mark_take(chain, token, deadline))
    try:
        yield
    finally:
        if taken:
            _asked_redis(lambda: _mark_take_away(chain, token))


def _mark_take(chain: str, token: str, deadline: float) -> bool:
    """Set the mark once it is free, and hear what was left with it."""
    while True:
        with _redis().pipeline() as both:
            both.set(_mark_name(chain), token, nx=True, px=int(1000 * MARK_LIVES_S))
            taken, word = both.get(_word_name(chain)).execute()
        if taken:
            if word:
                word_leave(chain, word.decode(errors="replace"))
            return True
        if time.monotonic() > deadline:
            return False
        shortest_ms, longest_ms = LOOK_EVERY_MS
        time.sleep((shortest_ms + secrets.randbelow(longest_ms - shortest_ms + 1)) / 1000)


def _mark_take_away(chain: str, token: str) -> None:
    names = (_mark_name(chain), _word_name(chain))
    _redis().eval(_TAKE_AWAY, len(names), *names, token, word_left(chain), WORD_LIVES_S)


def _mark_name(chain: str) -> str:
    return f"drservice:turn:{chain}"


def _word_name(chain: str) -> str:
    return f"drservice:turn:{chain}:word"


def _asked_redis(ask: Callable[[], object]) -> object:
    """Return what Redis answers; None while it is away, and for some seconds after that."""
    global _redis_left_alone_until
    if time.monotonic() < _redis_left_alone_until:
        return None
    try:
        return ask()
    except redis.RedisError as error:
        _redis_left_alone_until = time.monotonic() + REDIS_LEFT_ALONE_S
        log.warning("turns_without_redis error=%s", type(error).__name__)
        return None


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        # An event has no time for another try, and goes on without.
        retry=Retry(NoBackoff(), 0),
    )
