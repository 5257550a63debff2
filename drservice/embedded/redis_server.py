"""The embedded Redis: broker and events, with an append-only file to survive a restart."""

import socket
import subprocess
import time
from pathlib import Path

from drservice.embedded.binaries import find_redis_server
from drservice.embedded.children import RunningService
from drservice.embedded.ports import LOOPBACK
from drservice.embedded.starting import Server, require_in_time, start_server

START_TIMEOUT_S = 30
POLL_S = 0.02


def start_redis(directory: Path, port: int | None = None) -> RunningService:
    """Start a redis-server on `directory` and return it once it answers.

    Raises ServiceError with what happened and the cure.
    """
    return start_server(REDIS, directory, port)


def redis_url(port: int) -> str:
    return f"redis://{LOOPBACK}:{port}/0"


def _command(directory: Path, port: int) -> list[str]:
    return [
        find_redis_server(),
        *("--port", str(port), "--bind", LOOPBACK, "--dir", str(directory)),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--daemonize", "no", "--loglevel", "notice", "--maxmemory-policy", "noeviction"),
    ]


def _wait_until_answering(process: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _answers(port):
        require_in_time(process, deadline)
        time.sleep(POLL_S)


def _answers(port: int) -> bool:
    """Tell whether a Redis answers, and has finished reading its files."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


REDIS = Server("redis", "redis-server", "REDIS_URL", redis_url, _command, _wait_until_answering)
