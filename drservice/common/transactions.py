"""Real transactions, begun again when another one got in the way.

MongoDB lets one of two transactions that touch the same document begin again and read afresh.
Whatever runs in here may therefore run several times: it reads what it decides by inside, and
leaves files, messages and announcements until afterwards.
"""

import secrets
import time
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from django.db import DatabaseError, connection
from django_mongodb_backend.transaction import atomic
from pymongo.errors import PyMongoError

TRIES = 20
# A transaction takes some 5 ms: who waits much longer before beginning again, waits for nobody.
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 5, 300
Result = TypeVar("Result")


def transactional(service: Callable[..., Result]) -> Callable[..., Result]:
    """Run a service in one transaction: all that it writes, or nothing.

    Inside an open transaction it becomes a part of that one, which then does the repeating.
    """

    @wraps(service)
    def in_transaction(*args, **kwargs) -> Result:
        return in_one_transaction(lambda: service(*args, **kwargs))

    return in_transaction


def in_one_transaction(act: Callable[[], Result]) -> Result:
    """Call `act` in a transaction and return what it returned in the try that was committed."""
    if connection.in_atomic_block_mongo:
        return act()
    for tries_left in reversed(range(TRIES)):
        try:
            with atomic():
                return act()
        except (DatabaseError, PyMongoError) as error:
            _forget_transaction()
            if tries_left == 0 or not may_try_again(error):
                raise
        time.sleep(_pause_s(TRIES - tries_left))
    raise AssertionError("unreachable")


def _pause_s(failed: int) -> float:
    """Return how long to wait after so many tries: by chance, so that two don't meet again."""
    most_ms = min(FIRST_PAUSE_MS * 2 ** (failed - 1), LONGEST_PAUSE_MS)
    return secrets.randbelow(1000 * most_ms) / 1e6


def may_try_again(error: Exception) -> bool:
    """Say whether a transaction failed only because another one was quicker."""
    cause = error if isinstance(error, PyMongoError) else error.__cause__
    return isinstance(cause, PyMongoError) and cause.has_error_label("TransientTransactionError")


def _forget_transaction() -> None:
    # The backend leaves the session of a commit that failed, and what was to follow on it; the
    # next transaction would take both for its own.
    connection.run_on_commit = []
    if connection.session is not None:
        connection.session.end_session()
        connection.session = None
