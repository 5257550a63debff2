"""Pages of a long list, without counting it."""

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest

from drservice.common.numbers import whole_number

PAGE_SIZE = 25
LAST_PAGE = 10_000


@dataclass(frozen=True)
class ListPage:
    """One page of a list; whether there is a next one is known from one row more."""

    rows: list
    number: int
    has_next: bool

    @property
    def has_previous(self) -> bool:
        return self.number > 1

    @property
    def previous_number(self) -> int:
        return self.number - 1

    @property
    def next_number(self) -> int:
        return self.number + 1


def list_page(request: HttpRequest, rows: Callable[..., list]) -> ListPage:
    """Return the page that `?page=` asks for; anything that is no page number means the first.

    `rows` takes `start` and `count`.
    """
    asked = whole_number(request.GET.get("page", "")) or 1
    number = min(asked, LAST_PAGE)
    start = (number - 1) * PAGE_SIZE
    found = rows(start=start, count=PAGE_SIZE + 1)
    return ListPage(found[:PAGE_SIZE], number, len(found) > PAGE_SIZE)
