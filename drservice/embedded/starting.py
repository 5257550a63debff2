"""Start a server: its directory, its port, its program, and the wait until it serves."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drservice.embedded.children import RunningService, end, spawn, start_new_log
from drservice.embedded.diagnosis import directory_error, startup_error
from drservice.embedded.ports import free_port, require_free


@dataclass(frozen=True)
class Server:
    """What the servers differ in. `wait` raises TimeoutError when the server does not serve."""

    name: str
    program: str
    variable: str
    url: Callable[[int], str]
    command: Callable[[Path, int], list[str]]
    wait: Callable[[subprocess.Popen, int], None]


def start_server(server: Server, directory: Path, port: int | None) -> RunningService:
    """Start a server on `directory` and return it once it serves.

    Raises ServiceError with what happened and the cure.
    """
    directory = directory.resolve()
    port = port or free_port()
    require_free(port, server.program)
    log = directory / f"{server.name}.log"
    try:
        start_new_log(log)
        process = spawn(server.command(directory, port), log=log)
    except OSError as error:
        raise directory_error(server.program, directory, error) from error
    try:
        server.wait(process, port)
    except TimeoutError as error:
        end(process)
        raise startup_error(
            name=server.program,
            variable=server.variable,
            directory=directory,
            port=port,
            log=log,
            process=process,
        ) from error
    except BaseException:
        end(process)
        raise
    return RunningService(server.name, server.url(port), port, log, process)


def require_in_time(process: subprocess.Popen, deadline: float) -> None:
    """Raise TimeoutError when the server has ended, or time is up."""
    if process.poll() is not None or time.monotonic() > deadline:
        raise TimeoutError
