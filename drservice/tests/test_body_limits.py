"""What is too large is refused before it is kept, and before Django hears of it."""

import http.client
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drservice.body_limits import FORM_BYTES, MAX_ADDRESS_BYTES, MAX_HEADERS, BodyLimit
from drservice.embedded.ports import free_port
from drservice.testing.managed_process import ManagedProcess

UPLOAD = "/cases/64a000000000000000000000/images/add/"
MOST = 10_000_000


class Caller:
    """A client of an ASGI application that sends its body in pieces and keeps the answer."""

    def __init__(self, path: str, pieces: list[bytes], headers: dict | None = None) -> None:
        self.scope = {
            "type": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
        }
        self._pieces = list(pieces)
        self.told: list[dict] = []

    async def receive(self) -> dict:
        if not self._pieces:
            return {"type": "http.disconnect"}
        body = self._pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self._pieces)}

    async def send(self, message: dict) -> None:
        self.told.append(message)

    async def call(self) -> int:
        self.kept = 0
        await BodyLimit(self._application, upload_bytes=MOST)(self.scope, self.receive, self.send)
        return self.told[0]["status"]

    async def _application(self, scope: dict, receive, send) -> None:
        while (message := await receive())["type"] == "http.request":
            self.kept += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/patients/new/", FORM_BYTES, 200),
        ("/patients/new/", FORM_BYTES + 1, 413),
        (UPLOAD, MOST, 200),
        (UPLOAD, MOST + 1, 413),
        (f"{UPLOAD}x", FORM_BYTES + 1, 413),
        ("/healthz", FORM_BYTES + 1, 413),
    ],
)
async def test_body_beyond_its_limit_is_refused_declared_or_not(path, size, status):
    body = b"x" * size
    declared = Caller(path, [body], {"content-length": str(size)})
    assert await declared.call() == status
    assert declared.kept == (size if status == 200 else 0)
    pieces = [body[start : start + 100_000] for start in range(0, size, 100_000)]
    undeclared = Caller(path, pieces, {"transfer-encoding": "chunked"})
    assert await undeclared.call() == status
    assert undeclared.kept <= (MOST if path == UPLOAD else FORM_BYTES)
    lying = Caller(path, pieces, {"content-length": "10"})
    assert await lying.call() == status


async def test_refusal_says_what_to_do_and_is_kept_nowhere():
    caller = Caller("/", [b"x" * (FORM_BYTES + 1)])
    assert await caller.call() == 413
    headers = dict(caller.told[0]["headers"])
    assert headers[b"cache-control"] == b"no-store"
    assert b"fewer or smaller photographs" in caller.told[1]["body"]
    assert caller.told[-1].get("more_body", False) is False


async def test_address_and_headers_have_limits_too():
    long_address = Caller("/" + "x" * MAX_ADDRESS_BYTES, [])
    assert await long_address.call() == 414
    many = Caller("/", [], {f"x-{number}": "1" for number in range(MAX_HEADERS + 1)})
    assert await many.call() == 431
    large = Caller("/", [], {"x-large": "x" * 40_000})
    assert await large.call() == 431
    usual = Caller("/", [b""], {f"x-{number}": "1" for number in range(30)})
    assert await usual.call() == 200


@pytest.fixture
def port(process_environment, tmp_path: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "drservice.asgi:application", "--port", str(port)]
    with ManagedProcess(command, log=tmp_path / "web.log", environment=process_environment) as web:
        web.wait_for_url(f"http://127.0.0.1:{port}/healthz")
        yield port


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_real_server_answers_a_sender_of_too_much(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/accounts/sign-in/", body=b"x" * (FORM_BYTES + 1))
    answer = connection.getresponse()
    assert answer.status == 413
    assert b"smaller photographs" in answer.read()
    connection.close()
    chunked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    pieces = (b"x" * 500_000 for _ in range(10))
    chunked.request("POST", "/accounts/sign-in/", body=pieces, encode_chunked=True)
    assert chunked.getresponse().status == 413
    chunked.close()
