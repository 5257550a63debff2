"""Is the service alive, and can it work? For load balancers and people on call; nothing private."""

import logging
from collections.abc import Callable
from functools import cache

import pymongo
import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from accounts.access import public
from accounts.keys.errors import KeyFault
from accounts.keys.services import platform_key_check

log = logging.getLogger(__name__)

PATIENCE_S = 2
PROBES = frozenset({"/healthz", "/readyz"})


class ProbeMiddleware:
    """Forget a probe's cookies: it is answered without the database that it asks about.

    A browser sends its session along; reading that would be a 500 just when MongoDB is away.
    """

    def __init__(self, get_response: Callable) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path in PROBES:
            request.COOKIES.clear()
        return self.get_response(request)


@public
@require_safe
@never_cache
def alive(request: HttpRequest) -> HttpResponse:
    """Say that this process answers. Asks no other part, so that it isn't restarted for them."""
    return HttpResponse("alive\n", content_type="text/plain; charset=utf-8")


@public
@require_safe
@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """Say whether the service can work: 200, or 503 and which part stands in the way.

    MongoDB and Redis answer, and the master key opens what is stored: who starts with a wrong one
    is not sent any work.
    """
    parts = {"mongo": _answers(_ping_mongo), "redis": _answers(_ping_redis)}
    parts["keys"] = parts["mongo"] and _answers(_open_platform_key)
    state = {part: "ok" if answers else "not ok" for part, answers in parts.items()}
    return JsonResponse(state, status=200 if all(parts.values()) else 503)


def _answers(ping: Callable[[], object]) -> bool:
    try:
        ping()
    except (DatabaseError, PyMongoError, RedisError, OSError) as error:
        log.warning("not_ready ping=%s error=%s", ping.__name__, type(error).__name__)
        return False
    except KeyFault as fault:
        log.error("not_ready ping=%s %s", ping.__name__, fault.message)
        return False
    return True


def _ping_mongo() -> None:
    with pymongo.timeout(PATIENCE_S):
        connection.database.command("ping")


def _open_platform_key() -> None:
    with pymongo.timeout(PATIENCE_S):
        platform_key_check()


def _ping_redis() -> None:
    redis_client().ping()


@cache
def redis_client() -> redis.Redis:
    """Return the client for short questions: it gives up after PATIENCE_S."""
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S
    )
