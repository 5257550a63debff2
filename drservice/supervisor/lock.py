"""One supervisor for one var/ directory."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from drservice.embedded import ServiceError

FILE_NAME = "supervisor.lock"


@contextlib.contextmanager
def hold_lock(var: Path) -> Iterator[None]:
    """Hold the directory for this process. The kernel lets go of it however the process ends,
    so a lock file that a crash left behind locks nothing.

    Raises ServiceError when another supervisor holds it.
    """
    var.mkdir(parents=True, exist_ok=True)
    with (var / FILE_NAME).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _held_error(var, (var / FILE_NAME).read_text().strip()) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _held_error(var: Path, holder: str) -> ServiceError:
    return ServiceError(
        f"The service runs already on {var} (process {holder}).",
        f"Use its page, or end it with Ctrl-C or `kill {holder}`, or set VAR_DIR to another "
        "directory for a second one.",
    )
