"""Pages of a long list, without counting it."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest

from drservice.common.numbers import whole_number

PAGE_SIZE = 25
LAST_PAGE = 10_000


@dataclass(frozen=True)
class ListPage:
    """One page of a list; whether there is a next one is known from one row more.

    `carried` begins the query of the list's other pages: what the list is narrowed to.
    """

    rows: list
    number: int
    has_next: bool
    carried: str = ""

    @property
    def has_previous(self) -> bool:
        return self.number > 1

    @property
    def previous_number(self) -> int:
        return self.number - 1

    @property
    def next_number(self) -> int:
        return self.number + 1


def list_page(request: HttpRequest, rows: Callable[..., list], **carried: str) -> ListPage:
    """Return the page that `?page=` asks for; anything that is no page number means the first.

    `rows` takes `start` and `count`. `carried` are the parameters that other pages need as well.
    They are named one by one, so that no page hands on whatever stood in its address.
    """
    asked = whole_number(request.GET.get("page", "")) or 1
    number = min(asked, LAST_PAGE)
    start = (number - 1) * PAGE_SIZE
    found = rows(start=start, count=PAGE_SIZE + 1)
    query = query_of(**carried)
    return ListPage(found[:PAGE_SIZE], number, len(found) > PAGE_SIZE, query and f"{query}&")


def query_of(**parameters: object) -> str:
    """Return the query of an address, without the parameters that say nothing."""
    return urlencode({name: value for name, value in parameters.items() if value})


def address_of(path: str, **parameters: object) -> str:
    """Return a list's address that says what it is narrowed to."""
    query = query_of(**parameters)
    return f"{path}?{query}" if query else path
