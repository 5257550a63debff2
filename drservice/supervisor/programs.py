"""What runs beside the servers: web, the inference worker and beat."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drservice.embedded.children import log_tail
from drservice.embedded.ports import LOOPBACK
from drservice.settings.celery import INFERENCE_QUEUE
from drservice.supervisor.http import answers

WORKER_THREADS = 4
ENDING_ORDER = ("web", "worker", "beat")
NOT_READY = re.compile(r"model_not_ready reason=(.*)")
CELERY = (sys.executable, "-m", "celery", "-A", "drservice")


@dataclass(frozen=True)
class Program:
    """A command that should run all the time. `ready` looks at its log, or asks it."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[Path], bool]


def ending_place(name: str) -> int:
    """Return when a program ends, whatever the order in which they began."""
    return ENDING_ORDER.index(name) if name in ENDING_ORDER else 0


def web_program(port: int) -> Program:
    """The web process. It waits a few seconds at its end, no more, for open event streams."""
    command = (
        *(sys.executable, "-m", "uvicorn", "drservice.asgi:application"),
        *("--host", LOOPBACK, "--port", str(port), "--no-server-header", "--no-access-log"),
        # Whose address counts is settled in drservice.common.client_address alone.
        "--no-proxy-headers",
        *("--log-level", "info", "--timeout-graceful-shutdown", "3"),
    )
    return Program("web", command, lambda log: answers(web_address(port)))


def web_address(port: int) -> str:
    return f"http://{LOOPBACK}:{port}/"


def worker_program() -> Program:
    command = (
        *(*CELERY, "worker", "-Q", INFERENCE_QUEUE, "--pool=threads"),
        *("--concurrency", str(WORKER_THREADS), "--hostname", "inference@%h"),
        *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
    )
    return Program("worker", command, lambda log: _takes_cases(log) or bool(worker_refusal(log)))


def _takes_cases(log: Path) -> bool:
    return " ready." in log_tail(log, lines=200)


def worker_refusal(log: Path) -> str:
    """Return why a worker has no model to grade with, or nothing; it goes on looking for one."""
    since_ready = log_tail(log, lines=200).rpartition(" model_ready ")[2]
    told = NOT_READY.findall(since_ready)
    return told[-1] if told else ""


def beat_program() -> Program:
    # No pid file: the supervisor knows its child, and a stale one would refuse the next start.
    command = (*CELERY, "beat", "--pidfile=", "--loglevel", "INFO")
    return Program("beat", command, lambda log: "beat: Starting" in log_tail(log, lines=200))
