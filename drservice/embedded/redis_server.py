"""The embedded Redis: broker and events, with an append-only file to survive a restart."""

import socket
import subprocess
import time
from pathlib import Path

from drservice.embedded.binaries import find_redis_server
from drservice.embedded.children import RunningService, end, spawn, start_new_log
from drservice.embedded.diagnosis import startup_error
from drservice.embedded.ports import LOOPBACK, free_port, require_free

START_TIMEOUT_S = 30
POLL_S = 0.02


def redis_url(port: int) -> str:
    return f"redis://{LOOPBACK}:{port}/0"


def start_redis(directory: Path, port: int | None = None) -> RunningService:
    """Start a redis-server on `directory` and return it once it answers.

    Raises ServiceError with what happened and the cure.
    """
    directory = directory.resolve()
    port = port or free_port()
    require_free(port, "redis-server")
    log = directory / "redis.log"
    start_new_log(log)
    process = spawn(_command(directory, port), log=log)
    try:
        _wait_until_answering(process, port)
    except TimeoutError as error:
        end(process)
        raise startup_error(
            name="redis-server",
            variable="REDIS_URL",
            directory=directory,
            port=port,
            log=log,
            process=process,
        ) from error
    except BaseException:
        end(process)
        raise
    return RunningService("redis", redis_url(port), port, log, process)


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
        if process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(POLL_S)


def _answers(port: int) -> bool:
    """Tell whether a Redis answers, and has finished reading its files."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
