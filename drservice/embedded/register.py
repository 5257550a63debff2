"""var/services.json: where the embedded services of a directory run, for every other process.

A recorded service counts only while its process lives; a process is known by its number and its
start time, so a number that the system gave away again is not taken for a server.
"""

import json
import os
from pathlib import Path

from drservice.embedded.children import RunningService

FILE_NAME = "services.json"
VARIABLES = {"mongodb": "MONGODB_URI", "redis": "REDIS_URL"}
START_TIME_FIELD = 19  # of /proc/PID/stat, counted after the command's closing parenthesis


def record_running(var: Path, services: list[RunningService]) -> None:
    """Write down the running services; those of an earlier run keep their remembered ports."""
    entries = _read(var)
    for service in services:
        entries[service.name] = {
            "url": service.url,
            "port": service.port,
            "pid": service.pid,
            "started": process_start(service.pid),
        }
    var.mkdir(parents=True, exist_ok=True)
    draft = var / f"{FILE_NAME}.{os.getpid()}"
    draft.write_text(json.dumps(entries, indent=2) + "\n")
    draft.replace(var / FILE_NAME)


def running_urls(var: Path) -> dict[str, str] | None:
    """Return MONGODB_URI and REDIS_URL of the embedded services that run now, or None."""
    urls = {
        VARIABLES[name]: entry["url"]
        for name, entry in _read(var).items()
        if entry["started"] and process_start(entry["pid"]) == entry["started"]
    }
    return urls or None


def remembered_port(var: Path, name: str) -> int | None:
    """Return the port that a service had the last time, so that it may have it again."""
    return _read(var).get(name, {}).get("port")


def process_start(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot; None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(fields[START_TIME_FIELD - 1])


def _read(var: Path) -> dict[str, dict]:
    """Return what is recorded; a file that was cut short or edited counts as no record."""
    try:
        entries = json.loads((var / FILE_NAME).read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(entries, dict):
        return {}
    known = {"url", "port", "pid", "started"}
    return {
        name: entry
        for name, entry in entries.items()
        if name in VARIABLES and isinstance(entry, dict) and known <= entry.keys()
    }
