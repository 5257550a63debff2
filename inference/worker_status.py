"""What grading workers say of themselves: a word every few seconds, in Redis, gone when they are.

Readable without torch, so that pages and the doctor can tell whether anybody grades, and why not.
"""

import json
import time
from dataclasses import asdict, dataclass
from functools import cache

import redis
from django.conf import settings

# The number grows with the fields of WorkerStatus, so that old and new workers don't mix.
WORKERS_KEY = "drservice:grading-workers:1"
ALIVE_S = 20.0
FORGOTTEN_S = 3600.0


@dataclass(frozen=True)
class WorkerStatus:
    """One worker at its last beat. `reason` says why it is not ready, or what troubles it."""

    worker: str
    ready: bool
    reason: str
    model_version: str
    backend: str
    cases_in_work: int
    beat_at: float  # seconds since 1970

    @property
    def age_s(self) -> float:
        return max(0.0, time.time() - self.beat_at)


def status_write(status: WorkerStatus) -> None:
    """Say how a worker is, and forget the dead. Raises redis.RedisError."""
    _redis().hset(WORKERS_KEY, status.worker, json.dumps(asdict(status)))
    dead = [told.worker for told in _told() if told.age_s > FORGOTTEN_S]
    if dead:
        _redis().hdel(WORKERS_KEY, *dead)


def status_remove(worker: str) -> None:
    """Take the word of a worker that ends back. Raises redis.RedisError."""
    _redis().hdel(WORKERS_KEY, worker)


def statuses_read() -> list[WorkerStatus]:
    """Return every worker that was heard of lately. Raises redis.RedisError."""
    return [status for status in _told() if status.age_s < ALIVE_S]


def _told() -> list[WorkerStatus]:
    return [WorkerStatus(**json.loads(text)) for text in _redis().hvals(WORKERS_KEY)]


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)
