"""A MongoDB and a Redis of a benchmark's own, and Django set up on them."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drservice.embedded import start_mongodb, start_redis


@contextmanager
def own_services(database: str) -> Iterator[Path]:
    """Start both, set Django up on an empty, migrated database; stop both at the end.

    Gives the folder in which everything lies and which is removed afterwards.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        services = [start_mongodb(folder / "mongo"), start_redis(folder / "redis")]
        try:
            _configure(folder, database, *(service.url for service in services))
            yield folder
        finally:
            for service in reversed(services):
                service.stop()


def _configure(folder: Path, database: str, mongodb_url: str, redis_url: str) -> None:
    import django
    from django.core.management import call_command

    os.environ.update(
        DJANGO_SETTINGS_MODULE="drservice.settings.test",
        MONGODB_URI=mongodb_url,
        REDIS_URL=redis_url,
        MONGODB_DATABASE=database,
        VAR_DIR=str(folder / "var"),
    )
    django.setup()
    call_command("migrate", verbosity=0)
