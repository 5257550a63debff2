"""Server-sent events: an open page learns of a change within a second of its commit.

Redis only wakes the stream. What is sent is always read from the database, at once on connecting
and then after every announcement and every few seconds; so nothing is missed while Redis is down
or a page was away. Each look passes the door again, as the next request of the same session would:
who was deactivated or signed out, or works in another hospital by now, hears no more.
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

from accounts.announcements import channel_of_person
from accounts.open_sessions import membership_now
from accounts.permissions import Capability
from accounts.scoping import hospital_scope
from workspace.events import channel_of
from workspace.models import Case
from workspace.selectors import case_versions

log = logging.getLogger(__name__)

LOOK_EVERY_S = 3
# Nobody wakes a stream while Redis is away.
LOOK_ALONE_EVERY_S = 1
HEARTBEAT_S = 12
CONNECT_TIMEOUT_S = 2
PAUSE_AFTER_LOSS_S = 1
RECONNECT_MS = 2000
NEWEST = 50


@dataclass(frozen=True)
class Listener:
    """Who listens, by which session, and in which hospital."""

    session_key: str
    user_pk: ObjectId
    hospital_id: ObjectId

    def is_allowed(self) -> bool:
        membership = membership_now(self.session_key, self.user_pk)
        if membership is None or membership.hospital_id != self.hospital_id:
            return False
        return membership.can(Capability.SEE_RECORDS)


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
    announcements = Announcements(
        channel_of(listener.hospital_id), channel_of_person(listener.user_pk)
    )
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
        if found is None:
            # The page has to go: its reader may not see it any more.
            yield _event("shut", {})
        # Tells the page not to connect again: finished, or the door is closed.
        yield _event("done", {})
    finally:
        await announcements.close()


def _event(name: str, payload: dict) -> bytes:
    return f"event: {name}\ndata: {json.dumps(payload)}\n\n".encode()


async def _through_the_door(listener: Listener, look: Callable[[], Look | None]) -> Look | None:
    return await sync_to_async(_look_if_allowed)(listener, look)


def _look_if_allowed(listener: Listener, look: Callable[[], Look | None]) -> Look | None:
    if not listener.is_allowed():
        return None
    with hospital_scope(listener.hospital_id):
        return look()


def _look_at_case(case_pk: ObjectId) -> Look | None:
    case = Case.objects.filter(pk=case_pk).first()
    if case is None:
        return None
    payload = {"case": str(case.pk), "version": case.version, "state": case.state}
    return Look("case", case.version, payload, finished=not case.waiting)


def _look_at_worklist() -> Look:
    return Look("cases", case_versions(NEWEST), {}, mark_is_partial=True)


class Announcements:
    """What Redis announces of cases and of one person, or silence while Redis is away."""

    def __init__(self, cases: str, person: str) -> None:
        self._cases = cases
        self._person = person
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
            await pubsub.subscribe(self._cases, self._person)
        except (RedisError, OSError) as error:
            log.warning("events_without_redis error=%s", type(error).__name__)
            await _close(pubsub, client)
            return
        self._pubsub, self._client = pubsub, client

    async def wait_for(self, concerns: dict, timeout_s: float) -> bool:
        """Return True when something that concerns the listener is announced, False in time."""
        if self._pubsub is None:
            await asyncio.sleep(min(timeout_s, LOOK_ALONE_EVERY_S))
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
            if message and self._matters(message, concerns):
                return True
        return False

    def _matters(self, message: dict, concerns: dict) -> bool:
        if message["channel"].decode() == self._person:
            return True
        return concerns.items() <= json.loads(message["data"]).items()

    async def close(self) -> None:
        if self._pubsub is not None:
            pubsub, self._pubsub = self._pubsub, None
            await _close(pubsub, self._client)


async def _close(pubsub: "redis.client.PubSub", client: "redis.Redis") -> None:
    with suppress(RedisError, OSError):
        await pubsub.aclose()
    with suppress(RedisError, OSError):
        await client.aclose()
