"""Refuse a request that is too large before any of it is kept.

Django reads a whole request into a file before it asks who sent it. So the limit stands before
Django: it counts what comes in, and believes no `Content-Length` that says less.
"""

import re
from collections.abc import Awaitable, Callable

# A form without photographs; Django itself takes no more than 2.5 MB of it.
FORM_BYTES = 3_000_000
# What surrounds the files in a form.
ENVELOPE_BYTES = 1_000_000
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32_000
MAX_ADDRESS_BYTES = 8_000
# What is read and thrown away, so that the sender hears the answer, before it is cut off.
DRAINED_BYTES = 64_000_000
UPLOADS = re.compile(r"^/cases/[0-9a-f]{24}/images/add/$")

TOO_LARGE = "This is more than the service takes at once. Send fewer or smaller photographs.\n"
TOO_LONG = "The address of this request is longer than any of the service's.\n"
TOO_MANY_HEADERS = "This request has more headers than a browser sends.\n"


class _TooLarge(Exception):  # noqa: N818
    """The body went beyond its limit while it was being read."""


class BodyLimit:
    """An ASGI application around another one, which never hears of what is too large."""

    def __init__(self, application: Callable, *, upload_bytes: int) -> None:
        self._application = application
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            return await self._application(scope, receive, send)
        refusal = _refusal_of_head(scope)
        if refusal:
            return await _answer(*refusal, receive, send)
        limit = self._limit_for(scope)
        if _declared_bytes(scope) > limit:
            return await _answer(413, TOO_LARGE, receive, send)
        return await self._held(scope, receive, send, limit)

    def _limit_for(self, scope: dict) -> int:
        return self._upload_bytes if UPLOADS.match(scope["path"]) else FORM_BYTES

    async def _held(self, scope: dict, receive: Callable, send: Callable, limit: int) -> None:
        started = False

        async def watched_send(message: dict) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._application(scope, _counting(receive, limit), watched_send)
        except _TooLarge:
            if not started:
                await _answer(413, TOO_LARGE, receive, send)


def _counting(receive: Callable, limit: int) -> Callable[[], Awaitable[dict]]:
    came = 0

    async def counted() -> dict:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > limit:
            raise _TooLarge
        return message

    return counted


def _refusal_of_head(scope: dict) -> tuple[int, str] | None:
    if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > MAX_ADDRESS_BYTES:
        return 414, TOO_LONG
    headers = scope.get("headers", [])
    length = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MAX_HEADERS or length > MAX_HEADER_BYTES:
        return 431, TOO_MANY_HEADERS
    return None


def _declared_bytes(scope: dict) -> int:
    declared = dict(scope.get("headers", [])).get(b"content-length", b"0")
    return int(declared) if declared.isdigit() else 0


async def _answer(status: int, text: str, receive: Callable, send: Callable) -> None:
    """Say no at once, then let the sender finish: who is cut off while sending hears nothing."""
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"content-security-policy", b"default-src 'none'"),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await _drain(receive)
    await send({"type": "http.response.body", "body": b""})


async def _drain(receive: Callable) -> None:
    came = 0
    while came < DRAINED_BYTES:
        message = await receive()
        came += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return
