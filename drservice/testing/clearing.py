"""A clean MongoDB and a clean Redis for the next test."""

import redis
from django.db import connection

from accounts.audit import turns
from accounts.audit.open_keys import forget_open_keys
from accounts.keys.key_ring import forget_keys

# Written by migrations and needed by every test; Django would delete and rebuild them each time.
KEPT_COLLECTIONS = {"django_migrations", "django_content_type", "auth_permission"}


class Clearing:
    """Empties Redis, and the collections to which anybody has written since the last time.

    MongoDB itself says which those are, so what other processes wrote is found too.
    """

    def __init__(self, redis_client: redis.Redis) -> None:
        self._redis = redis_client
        self._written: dict[str, dict] = {}

    def clear(self) -> None:
        _require_no_transaction()
        # The keys go with everything else; one that lingered would seal what nobody can open.
        forget_keys()
        forget_open_keys()
        _forget_chains()
        self._redis.flushdb()
        for name, written in _written().items():
            if written != self._written.get(name):
                connection.database[name].delete_many({})
        self._written = _written()


def _forget_chains() -> None:
    """Let no test begin with word of a chain that is gone, or without Redis as one before it."""
    turns._words.clear()
    turns._redis_left_alone_until = 0.0


def _require_no_transaction() -> None:
    """Fail the test that left one open, not the next one, whose records would end in it."""
    assert connection.session is None, "The test left a transaction open."


def _written() -> dict[str, dict]:
    """Return for each collection how often and how long it was locked for writing, ever."""
    database = connection.database
    namespaces = database.client.admin.command("top")["totals"]
    written = {
        namespace.removeprefix(f"{database.name}."): usage["writeLock"]
        for namespace, usage in namespaces.items()
        if namespace.startswith(f"{database.name}.")
    }
    return {name: lock for name, lock in written.items() if _is_cleared(name)}


def _is_cleared(name: str) -> bool:
    return name not in KEPT_COLLECTIONS and not name.startswith("system.")
