"""Bars for people who watch; silent in logs, pipes and tests."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def shown(items: Iterable[T], what: str, *, total: int | None = None) -> Iterable[T]:
    """Pass the items on, and show how far that has come where stderr is a terminal."""
    return tqdm(items, desc=what, total=total, unit="", disable=None, leave=False)
