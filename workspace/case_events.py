"""Server-sent events: an open page learns of a change within a second of its commit.

Redis only wakes the stream. What is sent is always read from the database, at once on connecting
and then after every announcement and every few seconds; so nothing is missed while Redis is down
or a page was away. Each look passes the door again: a deactivated member hears no more.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import redis.asyncio as redis
from asgiref.sync import sync_to_async
from bson import ObjectId
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from accounts.models import User
from accounts.permissions import Capability
from accounts.scoping import hospital_scope
from accounts.selectors import memberships_of
from workspace.events import channel_of
from workspace.models import Case
from workspace.selectors import case_versions

log = logging.getLogger(__name__)

LOOK_EVERY_S = 3
HEARTBEAT_S = 12
CONNECT_TIMEOUT_S = 2
PAUSE_AFTER_LOSS_S = 1
RECONNECT_MS = 2000
NEWEST = 50


@dataclass(frozen=True)
class Listener:
    """Who listens, and in which hospital."""

    user_pk: ObjectId
    hospital_id: ObjectId


@dataclass(frozen=True)
class Look:
    """What one look found. The event is sent when `mark` differs from that of the last one.

    `mark_is_partial`: there may be changes that the mark doesn't show, so an announcement counts.
    """

    event: str
    mark: object
    payload: dict
    finished: bool = False
    mark_is_partial: bool = False


def case_stream(listener: Listener, case_pk: ObjectId, seen: int | None) -> AsyncIterator[bytes]:
    """Send one case's state now (unless it is at version `seen`) and after every change.

    Ends by itself when nothing more will happen.
    """
    concerns = {"case": str(case_pk)}
    return _stream(listener, partial(_look_at_case, case_pk), concerns, mark=seen)


def worklist_stream(listener: Listener) -> AsyncIterator[bytes]:
    """Send a word whenever any case of the hospital has changed."""
    return _stream(listener, _look_at_worklist, {}, mark=None)


async def _stream(
    listener: Listener, look: Callable[[], Look | None], concerns: dict, mark: object
) -> AsyncIterator[bytes]:
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    announcements = Announcements(channel_of(listener.hospital_id))
    spoke_at = time.monotonic()
    heard = False
    try:
        await announcements.connect()
        while (found := await _through_the_door(listener, look)) is not None:
            if found.mark != mark or (heard and found.mark_is_partial):
                yield _event(found.event, found.payload)
                mark, spoke_at = found.mark, time.monotonic()
            if found.finished:
                break
            if time.monotonic() - spoke_at > HEARTBEAT_S:
                yield b": still here\n\n"
                spoke_at = time.monotonic()
            heard = await announcements.wait_for(concerns, LOOK_EVERY_S)
        # Tells the page not to connect again: finished, or the door is closed.
        yield _event("done", {})
    finally:
        await announcements.close()


def _event(name: str, payload: dict) -> bytes:
    return f"event: {name}\ndata: {json.dumps(payload)}\n\n".encode()


async def _through_the_door(listener: Listener, look: Callable[[], Look | None]) -> Look | None:
    return await sync_to_async(_look_if_allowed)(listener, look)


def _look_if_allowed(listener: Listener, look: Callable[[], Look | None]) -> Look | None:
    user = User.objects.filter(pk=listener.user_pk, is_active=True).first()
    memberships = memberships_of(user) if user else []
    for membership in memberships:
        if membership.hospital_id != listener.hospital_id:
            continue
        if membership.can(Capability.SEE_RECORDS):
            with hospital_scope(listener.hospital_id):
                return look()
    return None


def _look_at_case(case_pk: ObjectId) -> Look | None:
    case = Case.objects.filter(pk=case_pk).first()
    if case is None:
        return None
    payload = {"case": str(case.pk), "version": case.version, "state": case.state}
    return Look("case", case.version, payload, finished=not case.waiting)


def _look_at_worklist() -> Look:
    return Look("cases", case_versions(NEWEST), {}, mark_is_partial=True)


class Announcements:
    """What Redis announces on one channel, or silence while Redis is away."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._pubsub: redis.client.PubSub | None = None

    async def connect(self) -> None:
        """Subscribe before the first look, so that no change falls between the two."""
        client = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        pubsub = client.pubsub()
        try:
            await pubsub.subscribe(self._channel)
        except (RedisError, OSError) as error:
            log.warning("events_without_redis error=%s", type(error).__name__)
            await _close(pubsub, client)
            return
        self._pubsub, self._client = pubsub, client

    async def wait_for(self, concerns: dict, timeout_s: float) -> bool:
        """Return True when something that concerns the listener is announced, False in time."""
        if self._pubsub is None:
            await asyncio.sleep(timeout_s)
            await self.connect()
            return False
        try:
            return await self._hear(concerns, time.monotonic() + timeout_s)
        except (RedisError, OSError) as error:
            log.warning("events_lost_redis error=%s", type(error).__name__)
            await self.close()
            await asyncio.sleep(PAUSE_AFTER_LOSS_S)
            await self.connect()
            return False

    async def _hear(self, concerns: dict, deadline: float) -> bool:
        while (left_s := deadline - time.monotonic()) > 0:
            message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=left_s)
            if message and concerns.items() <= json.loads(message["data"]).items():
                return True
        return False

    async def close(self) -> None:
        if self._pubsub is not None:
            pubsub, self._pubsub = self._pubsub, None
            await _close(pubsub, self._client)


async def _close(pubsub: "redis.client.PubSub", client: "redis.Redis") -> None:
    with suppress(RedisError, OSError):
        await pubsub.aclose()
    with suppress(RedisError, OSError):
        await client.aclose()
