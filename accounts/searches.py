"""What people search lists for: kept on this side, under an id that stands in the address instead.

A name in an address would stay in the browser's history and in the logs of every proxy on the way.
So a search form sends its words in its body. They are sealed and kept in Redis until nobody has
looked at the list for as long as a session may idle, and the list's address carries a random id. It
means something to one session at one hospital: nobody else, and nobody who signs in later, can turn
it into words again (docs/decisions/why-a-search-has-an-id.md).
"""

import logging
import re
import secrets
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from redis.exceptions import RedisError

from accounts.keys.errors import SealBroken
from accounts.keys.sealing import platform_hash, platform_seal, platform_unseal
from drservice.common.list_pages import address_of

log = logging.getLogger(__name__)

MOST_LETTERS = 80
# The field of every search form, and the parameter of an address that carries an id.
WORDS_FIELD = "words"
ID_PARAMETER = "search"
ID_BYTES = 9
ID_LETTERS = re.compile(r"[A-Za-z0-9_-]{12}")
PURPOSE = "search"


@dataclass(frozen=True)
class Search:
    """What a list is searched for; nothing when there are no words.

    `id` stands for the words in addresses. It is empty while they can't be kept: the answer to the
    form is then all that is shown. `is_over` says that an address carries an id of words that are
    not kept any more, or never were for whoever asks.
    """

    words: str = ""
    id: str = ""
    is_over: bool = False

    @property
    def is_unkept(self) -> bool:
        return bool(self.words) and not self.id


def search_of(request: HttpRequest) -> Search:
    """Return what a list is searched for, by the form that was sent or the id in the address."""
    if request.method == "POST":
        return _kept(request, _plain(request.POST.get(WORDS_FIELD, "")))
    asked = request.GET.get(ID_PARAMETER, "")
    return _found(request, asked) if asked else Search()


def search_results(request: HttpRequest, search: Search, **filters: str) -> HttpResponse | None:
    """Lead from a form that was sent to the address of what it finds.

    None when there is nowhere to lead to: the caller shows its list, now or because words that
    can't be kept have no address. `filters` are what else the list is narrowed to.
    """
    if request.method != "POST" or search.is_unkept:
        return None
    return redirect(address_of(request.path, **{ID_PARAMETER: search.id}, **filters))


def _plain(text: str) -> str:
    return " ".join(text.replace("\0", " ").split())[:MOST_LETTERS].strip()


def _kept(request: HttpRequest, words: str) -> Search:
    if not words:
        return Search()
    new = secrets.token_urlsafe(ID_BYTES)
    key = _key(request, new)
    try:
        cache.set(key, platform_seal(words, purpose=key), settings.SESSION_IDLE_S)
    except RedisError as error:
        # A patient waits in the chair: the form is answered all the same, with its first page.
        log.warning("search_not_kept error=%s", type(error).__name__)
        return Search(words)
    return Search(words, new)


def _found(request: HttpRequest, asked: str) -> Search:
    words = _read(_key(request, asked)) if ID_LETTERS.fullmatch(asked) else ""
    return Search(words, asked) if words else Search(is_over=True)


def _read(key: str) -> str:
    """Return the words that are kept under a key, and keep them for longer; empty without any."""
    try:
        sealed = cache.get(key)
        if sealed is None:
            return ""
        cache.touch(key, settings.SESSION_IDLE_S)
        return platform_unseal(sealed, purpose=key)
    except (RedisError, SealBroken) as error:
        log.warning("search_not_read error=%s", type(error).__name__)
        return ""


def _key(request: HttpRequest, search_id: str) -> str:
    """Return the name in Redis of one session's search at the hospital where it works now."""
    hospital_id = request.membership.hospital_id if request.membership else ""
    whose = platform_hash(f"{request.session.session_key} {hospital_id}", purpose=PURPOSE)
    return f"{PURPOSE}:{whose}:{search_id}"
