"""How often somebody may do something that costs much; counted in Redis, forgotten in time."""

import logging
from dataclasses import dataclass

from django.core.cache import cache
from redis.exceptions import RedisError

from drservice.common.errors import ServiceFault

log = logging.getLogger(__name__)


class TooOften(ServiceFault):
    """Somebody did something more often than a person does; `code` names it for programs."""

    code = "too_often"


@dataclass(frozen=True)
class RateLimit:
    """At most `most` times in `window_s` seconds for each of those who do it.

    A window begins with the first time, and the next one with the first time after its end. While
    Redis is away nothing is counted and everybody may: a patient waits in the chair.
    """

    name: str
    most: int
    window_s: int
    refusal: str

    def take(self, who: object) -> None:
        """Count one time. Raises TooOften above the limit, with words for whoever did it."""
        self._require(self.count(who) <= self.most, who)

    def require_room(self, who: object) -> None:
        """Count nothing. Raises TooOften when the next time would be one too many."""
        self._require(self._counted(self._times, who) < self.most, who)

    def count(self, who: object) -> int:
        """Count one time, and return how many that makes; 0 while nothing can be counted."""
        return self._counted(self._times_more, who)

    def _require(self, has_room: bool, who: object) -> None:
        if not has_room:
            log.warning("rate_exceeded name=%s who=%s", self.name, who)
            raise TooOften(self.refusal)

    def _counted(self, ask, who: object) -> int:
        try:
            return ask(f"rate:{self.name}:{who}")
        except RedisError as error:
            log.warning("rate_not_counted name=%s error=%s", self.name, type(error).__name__)
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
