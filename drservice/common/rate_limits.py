"""How often somebody may do something that costs much; counted in Redis, forgotten in time."""

import logging
import math
from dataclasses import dataclass
from functools import cache as once

import redis
from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from drservice.common.errors import ServiceFault

log = logging.getLogger(__name__)


class TooOften(ServiceFault):
    """Somebody did something more often than a person does; `code` names it for programs."""

    code = "too_often"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class RateLimit:
    """At most `most` times in `window_s` seconds for each of those who do it.

    A window begins with the first time, and the next one with the first time after its end. While
    Redis is away nothing is counted and everybody may: a patient waits in the chair. Nobody may
    then what `closes`, which raises RedisError instead: guessing must never be free.
    """

    name: str
    most: int
    window_s: int
    refusal: str
    closes: bool = False

    def take(self, who: object) -> None:
        """Count one time. Raises TooOften above the limit, with words for whoever did it."""
        self._require(self.count(who) <= self.most, who)

    def require_room(self, who: object) -> None:
        """Count nothing. Raises TooOften when the next time would be one too many."""
        self._require(self.has_room(who), who)

    def has_room(self, who: object) -> bool:
        """Tell whether the next time would still be allowed; True while nothing can be counted."""
        return self._counted(self._times, who) < self.most

    def count(self, who: object) -> int:
        """Count one time, and return how many that makes; 0 while nothing can be counted."""
        return self._counted(self._times_more, who)

    def give_back(self, who: object) -> None:
        """Take back one time that was counted, and turned out to cost nothing."""
        self._counted(self._times_less, who)

    def _require(self, has_room: bool, who: object) -> None:
        if not has_room:
            log.warning("rate_exceeded name=%s who=%s", self.name, who)
            raise TooOften(self.refusal, self._left_s(who))

    def _left_s(self, who: object) -> int:
        """Return how long the window still lasts; all of it when Redis doesn't say."""
        try:
            left_ms = _redis().pttl(cache.make_key(_key(self.name, who)))
        except RedisError:
            return self.window_s
        return min(self.window_s, max(1, math.ceil(left_ms / 1000)))

    def _counted(self, ask, who: object) -> int:
        try:
            return ask(_key(self.name, who))
        except RedisError as error:
            log.warning("rate_not_counted name=%s error=%s", self.name, type(error).__name__)
            if self.closes:
                raise
            return 0

    def _times(self, key: str) -> int:
        return cache.get(key, 0)

    def _times_more(self, key: str) -> int:
        cache.add(key, 0, self.window_s)
        try:
            return cache.incr(key)
        except ValueError:
            # The window ended between the two: this is the first time of the next one.
            cache.set(key, 1, self.window_s)
            return 1

    def _times_less(self, key: str) -> int:
        try:
            return cache.decr(key)
        except ValueError:
            # The window ended in between, and the count with it.
            return 0


def _key(name: str, who: object) -> str:
    return f"rate:{name}:{who}"


@once
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)
