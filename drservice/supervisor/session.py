"""One run of the service from a command: signals, the lock, the supervisor, and clear errors."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from django.core.management.base import CommandError

from drservice.embedded import ServiceError
from drservice.embedded.ports import free_port, is_free
from drservice.supervisor.lock import hold_lock
from drservice.supervisor.supervision import Supervisor, child_environment

DEFAULT_PORT = 8000
READY_TIMEOUT_S = 120
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def service_session(var: Path, say: Callable) -> Iterator[Supervisor]:
    """Give a supervisor, and end all its children however the block ends.

    Raises KeyboardInterrupt for Ctrl-C and for `kill`, CommandError with what happened and the
    cure for everything that a person can mend.
    """
    try:
        with (
            _stop_signals_interrupt(),
            hold_lock(var),
            Supervisor(var=var, environment=child_environment(var), say=say) as supervisor,
        ):
            yield supervisor
    except ServiceError as error:
        raise CommandError(f"{error.what}\n{error.cure}") from error


@contextlib.contextmanager
def _stop_signals_interrupt() -> Iterator[None]:
    def interrupt(number: int, frame: object) -> None:
        # Once: a second Ctrl-C must not cut the orderly end short and leave a child behind.
        for one in STOP_SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in STOP_SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def choose_port(asked: int | None, say: Callable) -> int:
    """Return the port for the web process: the asked one, or 8000, or else any free one.

    Raises ServiceError when a port was asked for and is taken.
    """
    if is_free(asked or DEFAULT_PORT):
        return asked or DEFAULT_PORT
    port = free_port()
    if asked:
        raise ServiceError(
            f"Port {asked} is taken by another program.",
            f"Stop that program, or take a free port, for instance PORT={port} (--port {port}).",
        )
    say(f"port {DEFAULT_PORT} is taken by another program; using {port} (PORT=… sets another)")
    return port
