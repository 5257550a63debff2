"""pytest-django's `django_db_setup`, with the servers up first.

A plugin module of its own: `drservice.testing.services` registers it after pytest-django, so that
this fixture wraps the one of the same name.
"""

import pytest


@pytest.fixture(scope="session")
def django_db_setup(mongodb_service, redis_service, django_db_setup) -> None:
    """Start the servers, then make the test database."""
