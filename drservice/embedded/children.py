"""Child processes that end with us: started, stopped, and their last words read."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TETHER = Path(__file__).with_name("tether.py")
STOP_GRACE_S = 20
LOG_TAIL_BYTES = 8192


def spawn(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen:
    """Start `command` in its own session, tied to this process, its output appended to `log`.

    Its own session, so that Ctrl-C in a terminal reaches the parent alone, which then ends its
    children in the right order. Only from the main thread: the kernel ties a child to the thread
    that started it, and would end it with that thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("Start child processes from the main thread; see `spawn`.")
    log.parent.mkdir(parents=True, exist_ok=True)
    tethered = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *command]
    with log.open("ab") as output:
        return subprocess.Popen(
            tethered,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def end(process: subprocess.Popen, grace_s: float = STOP_GRACE_S) -> int:
    """End a child that `spawn` started, and all that it started: asked first, then forced."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def log_tail(log: Path, lines: int = 12) -> str:
    """Return the last lines of a log, or an empty text when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def start_new_log(log: Path) -> None:
    """Put the log of the run before aside, so that what is read next is of this run."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.name}.1"))


@dataclass(frozen=True)
class RunningService:
    """A service that this process started and will end."""

    name: str
    url: str
    port: int
    log: Path
    process: subprocess.Popen

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        """End the service in good order; stopping it twice is harmless."""
        end(self.process)
