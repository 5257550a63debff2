"""Real processes in tests: celery workers, the web server, management commands."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from drservice.embedded.children import end, log_tail, spawn
from drservice.supervisor.http import answers

POLL_S = 0.05
TAIL_LINES = 40


class ProcessFailed(AssertionError):
    """A process did not do what the test waited for; the text ends with its last log lines."""


class ManagedProcess:
    """A command that runs for the length of a `with` block, with its output in a file.

    Everything it started goes with it. A test that fails inside the block prints its last lines.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = list(command)
        self.log = log
        self.environment = dict(environment or os.environ)

    def __enter__(self) -> Self:
        self.process = spawn(self.command, log=self.log, environment=self.environment)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end(self.process, grace_s=15)
        if error is not None and not isinstance(error, ProcessFailed):
            error.add_note(self._report("at the end of the test"))

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for_line(self, pattern: str, timeout_s: float = 60) -> re.Match:
        """Return the match of a regular expression once it stands in the output."""
        return self.wait_until(lambda: re.search(pattern, self.output), f"/{pattern}/", timeout_s)

    def wait_for_url(self, url: str, timeout_s: float = 60) -> None:
        """Wait until an address answers, whatever its status."""
        self.wait_until(lambda: answers(url), url, timeout_s)

    def wait_until(self, condition: Callable, subject: str, timeout_s: float = 60):
        """Return the condition's value once it is true; give up when the process ends first."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if self.process.poll() is not None:
                raise ProcessFailed(self._report(f"ended before {subject}"))
            if time.monotonic() > deadline:
                raise ProcessFailed(self._report(f"{timeout_s} s without {subject}"))
            time.sleep(POLL_S)
        return value

    def wait_for_exit(self, timeout_s: float = 60) -> int:
        """Return the exit code of a process that ends by itself."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ProcessFailed(self._report(f"still running after {timeout_s} s")) from error

    def kill(self) -> None:
        """End it and all it started at once, as a power cut would (SIGKILL)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def _report(self, event: str) -> str:
        state = self.process.poll()
        words = "running" if state is None else f"ended with code {state}"
        return (
            f"{' '.join(self.command)}: {event} ({words}). Last lines of its output:\n"
            f"{log_tail(self.log, TAIL_LINES)}"
        )


def is_gone(pid: int, timeout_s: float = 10) -> bool:
    """Tell whether a process ends in time; one that only waits to be collected has ended."""
    deadline = time.monotonic() + timeout_s
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
