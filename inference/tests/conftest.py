"""Real workers and a Redis of their own, for the tests that kill them."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kombu import pools

from accounts import announcements
from accounts.audit import turns
from drservice import health
from drservice.celery import app
from drservice.common import rate_limits
from drservice.embedded import start_redis
from drservice.embedded.ports import reserve_port
from drservice.embedded.redis_server import redis_url
from drservice.testing.managed_process import ManagedProcess
from inference import worker_status


@pytest.fixture
def worker_process(
    process_environment: dict[str, str], tmp_path: Path
) -> Callable[..., ManagedProcess]:
    """Return a function that starts a grading worker; its keywords are environment variables."""

    def start(name: str = "one", paced: bool = True, threads: int = 2, **variables: object):
        command = (
            *(sys.executable, "-m", "celery", "-A", "drservice", "worker", "-Q", "inference"),
            *(("-I", "inference.tests.paced") if paced else ()),
            *("--pool=threads", "--concurrency", str(threads), "--hostname", f"{name}@test"),
            *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
        )
        environment = {
            **process_environment,
            "INFERENCE_DEVICE": "torch-cpu",
            **{key: str(value) for key, value in variables.items()},
        }
        return ManagedProcess(command, log=tmp_path / f"{name}.log", environment=environment)

    return start


@contextmanager
def paused(worker: ManagedProcess) -> Iterator[None]:
    """Hold a worker still, as a machine without time to spare would."""
    os.killpg(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(worker.pid, signal.SIGCONT)


class MortalRedis:
    """A Redis that a test may wipe, kill and start again, always at the same address."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with reserve_port() as holder:
            self._port = holder.getsockname()[1]
        self.url = redis_url(self._port)
        self.start()

    def start(self) -> None:
        self._service = start_redis(self._directory, self._port)

    def kill(self) -> None:
        self._service.process.kill()
        self._service.process.wait()

    def stop(self) -> None:
        self._service.stop()


@pytest.fixture
def mortal_redis(tmp_path: Path, settings, monkeypatch) -> Iterator[MortalRedis]:
    """Give this test a Redis of its own, and make everything in this process use it."""
    server = MortalRedis(tmp_path / "redis")
    settings.REDIS_URL = server.url
    monkeypatch.setattr(app.conf, "broker_url", server.url)
    monkeypatch.setenv("REDIS_URL", server.url)
    _forget_connections()
    yield server
    server.stop()
    _forget_connections()


def _forget_connections() -> None:
    pools.reset()
    app.amqp._producer_pool = None
    app._pool = None
    # Each keeps the address that the settings named when it was first asked.
    for client in (
        announcements._redis,
        health.redis_client,
        rate_limits._redis,
        turns._redis,
        worker_status._redis,
    ):
        client.cache_clear()
