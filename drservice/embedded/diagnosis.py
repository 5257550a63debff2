"""From a server's last words to what happened and the cure."""

import errno
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from drservice.embedded.children import log_tail
from drservice.embedded.errors import ServiceError

LINES_READ = 60
FULL_BELOW_BYTES = 1_000_000


class Cause(NamedTuple):
    pattern: str
    what: str
    cure: str


DISK_FULL = Cause(
    r"No space left on device|ENOSPC|Insufficient free space|OutOfDiskSpace",
    "{name} can't write: the disk under {directory} is full.",
    "Free some space (the embedded services want 1 GB), or point VAR_DIR at a larger disk.",
)
FORBIDDEN = Cause(
    r"Permission denied|Operation not permitted|Read-only file system|EACCES",
    "{name} may not write to {directory}.",
    "Give the directory to the user who runs this (`chown -R`), or point VAR_DIR elsewhere.",
)
CAUSES = (
    Cause(
        r"error while loading shared libraries: (?P<detail>[\w.+-]+)",
        "{name} needs the system library {detail}, which this machine lacks.",
        "Install it (Debian, Ubuntu: `apt-get install libssl3 libcurl4`), put a {name} of your "
        "system on PATH, or set {variable} to a server that runs already.",
    ),
    Cause(
        r"version `(?P<detail>[\w.]+)' not found",
        "{name} needs {detail}, and this machine's system libraries are older.",
        "Put a {name} made for your system on PATH, or set {variable} to a server that runs "
        "already.",
    ),
    Cause(
        r"DBPathInUse|Unable to lock the lock file|already running",
        "Another {name} works on {directory}.",
        "Stop it first; `make run` or `manage.py serve` may be running in another terminal.",
    ),
    Cause(
        r"Address already in use|SocketException|Could not create server TCP listening socket",
        "{name} can't listen on port {port}: another program has it.",
        "Stop that program, or start again: a free port is chosen when the old one is taken.",
    ),
    DISK_FULL,
    Cause(
        r"featureCompatibilityVersion|unsupported WiredTiger file version|"
        r"Version incompatibility|Can't handle RDB format|Wrong mongod version",
        "{directory} was written by a newer {name} than the one that was started, or by one that "
        "is several releases older.",
        "Put the {name} that wrote it on PATH again, or move {directory} away to begin with an "
        "empty one.",
    ),
    FORBIDDEN,
    Cause(
        r"Bad file format reading the append only file|WT_ERROR|checksum error|WT_PANIC",
        "The files of {name} in {directory} are damaged.",
        "Restore them from a backup, or move {directory} away to begin with an empty one.",
    ),
)


def startup_error(
    *, name: str, variable: str, directory: Path, port: int, log: Path, process: subprocess.Popen
) -> ServiceError:
    """Return the error that tells why a server that was just started ended or kept silent."""
    facts = {"name": name, "variable": variable, "directory": directory, "port": port}
    if shutil.disk_usage(directory).free < FULL_BELOW_BYTES:
        # On a full disk the last words don't fit into the log.
        return _error(DISK_FULL, facts)
    if process.poll() == -signal.SIGILL:
        return ServiceError(
            f"{name} does not run on this processor (MongoDB 5 and newer need AVX).",
            f"Set {variable} to a server on another machine.",
        )
    last_words = log_tail(log, LINES_READ)
    for cause in CAUSES:
        found = re.search(cause.pattern, last_words)
        if found:
            return _error(cause, {**facts, **found.groupdict()})
    return _unknown_error(name, log, process)


def directory_error(name: str, directory: Path, error: OSError) -> ServiceError:
    """Return the error for a directory in which nothing can be written."""
    cause = DISK_FULL if error.errno == errno.ENOSPC else FORBIDDEN
    return _error(cause, {"name": name, "directory": directory})


def _error(cause: Cause, facts: dict[str, object]) -> ServiceError:
    return ServiceError(cause.what.format(**facts), cause.cure.format(**facts))


def _unknown_error(name: str, log: Path, process: subprocess.Popen) -> ServiceError:
    code = process.poll()
    state = "did not answer in time" if code is None else f"ended at once with code {code}"
    return ServiceError(f"{name} {state}.", f"Read {log}, which ends with:\n{log_tail(log, 6)}")
