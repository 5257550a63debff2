"""Tell open pages that a case has changed. Ids only: pages fetch what they may see themselves."""

import json
import logging
from functools import cache

import redis
from bson import ObjectId
from django.conf import settings

from workspace.models import Case

log = logging.getLogger(__name__)


def channel_of(hospital_id: ObjectId) -> str:
    """Return the Redis channel on which one hospital's cases are announced."""
    return f"drservice:cases:{hospital_id}"


def case_announce(case: Case) -> None:
    """Publish that a case changed. Nothing hangs on it: pages also look by themselves."""
    message = json.dumps({"case": str(case.pk), "version": case.version, "state": case.state})
    try:
        _redis().publish(channel_of(case.hospital_id), message)
    except redis.RedisError as error:
        log.warning("case_announce_failed case=%s error=%s", case.pk, type(error).__name__)


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)
