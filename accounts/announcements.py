"""Say aloud what open pages listen to. Ids only: who hears of a change looks for themselves.

Nothing hangs on an announcement: it wakes a listener, and listeners also look by themselves.
"""

import json
import logging
from collections.abc import Mapping
from functools import cache, partial

import redis
from bson import ObjectId
from django.conf import settings
from django_mongodb_backend.transaction import on_commit

log = logging.getLogger(__name__)


def channel_of_person(user_pk: ObjectId) -> str:
    """Return the Redis channel on which it is announced that a person may do more or less."""
    return f"drservice:person:{user_pk}"


def access_announce(user_pk: ObjectId) -> None:
    """Wake everything a person has open, so that it asks again whether it may go on.

    Inside a transaction this waits for its end: who looked earlier would still find the old state.
    """
    on_commit(partial(announce, channel_of_person(user_pk), {"person": str(user_pk)}))


def announce(channel: str, message: Mapping[str, object]) -> None:
    """Publish a message. While Redis is away it is lost, and the log says so."""
    try:
        _redis().publish(channel, json.dumps(message))
    except redis.RedisError as error:
        log.warning("announce_failed channel=%s error=%s", channel, type(error).__name__)


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)
