"""A pytest plugin: a real mongod and a real redis for the tests that need them, and only then.

Addresses are fixed before Django reads its settings; the servers start with the first test that
uses the database, in a directory that goes away; with several processes (`pytest -n 2`) each has
servers of its own. `TEST_MONGODB_URI` and `TEST_REDIS_URL` point
the tests at servers that run already, and whose Redis database the tests empty.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection

from drservice.embedded import RunningService, start_mongodb, start_redis
from drservice.embedded.mongodb_server import mongodb_url
from drservice.embedded.ports import reserve_port
from drservice.embedded.redis_server import redis_url
from drservice.testing import chromium, database_setup

GIVEN_MONGODB = "TEST_MONGODB_URI"
GIVEN_REDIS = "TEST_REDIS_URL"

_reserved = {}


@dataclass(frozen=True)
class GivenService:
    """A server that somebody else started and keeps."""

    name: str
    url: str


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests():
    # A wrapper, because it runs before pytest-django's hook of this name, which loads settings.
    os.environ["MONGODB_URI"] = os.environ.get(GIVEN_MONGODB) or mongodb_url(_reserve("mongodb"))
    os.environ["REDIS_URL"] = os.environ.get(GIVEN_REDIS) or redis_url(_reserve("redis"))
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    if GIVEN_REDIS in os.environ and config.getoption("numprocesses", None):
        raise pytest.UsageError(
            f"{GIVEN_REDIS} names one Redis, which two processes would empty under each other. "
            "Use one: pytest -n 0, or make test TEST_WORKERS=0."
        )
    config.pluginmanager.register(database_setup, "drservice-database-setup")
    config.pluginmanager.register(chromium, "drservice-chromium")
    # Django is set up by now, which these need.
    config.pluginmanager.import_plugin("drservice.testing.tenant_commands")
    config.pluginmanager.import_plugin("drservice.testing.fixtures")
    config.pluginmanager.import_plugin("drservice.testing.door_fixtures")


def pytest_unconfigure() -> None:
    for holder in _reserved.values():
        holder.close()


def _reserve(name: str) -> int:
    _reserved[name] = reserve_port()
    return _reserved[name].getsockname()[1]


def _released(name: str) -> int:
    """Give up the reservation of a port, and return the port."""
    with _reserved.pop(name) as holder:
        return holder.getsockname()[1]


@pytest.fixture(scope="session")
def services_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="drservice-test-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def mongodb_service(services_directory: Path) -> Iterator[RunningService | GivenService]:
    if GIVEN_MONGODB in os.environ:
        yield GivenService("mongodb", os.environ[GIVEN_MONGODB])
        return
    service = start_mongodb(services_directory / "mongodb", _released("mongodb"))
    yield service
    service.stop()


@pytest.fixture(scope="session")
def redis_service(services_directory: Path) -> Iterator[RunningService | GivenService]:
    if GIVEN_REDIS in os.environ:
        yield GivenService("redis", os.environ[GIVEN_REDIS])
        return
    service = start_redis(services_directory / "redis", _released("redis"))
    yield service
    service.stop()


@pytest.fixture
def process_environment(django_db_setup, tmp_path: Path) -> dict[str, str]:
    """Return the environment in which a child process works on the test database."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
        "MONGODB_DATABASE": connection.settings_dict["NAME"],
        "VAR_DIR": str(tmp_path / "var"),
    }
