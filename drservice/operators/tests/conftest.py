from collections.abc import Callable

import pytest

from accounts.models import User
from accounts.tests.factories import make_user


@pytest.fixture
def make_operator(db) -> Callable[[], User]:
    return lambda: make_user(is_operator=True)
