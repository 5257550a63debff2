"""Searched words: no address holds them, and only whoever typed them gets them back."""

import json
import re

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisAway

from accounts import searches
from accounts.models import Membership
from accounts.permissions import Role
from accounts.tests.factories import make_member
from drservice.testing.pages import searched

pytestmark = pytest.mark.django_db

PEOPLE, INVITATIONS = reverse("accounts:member-list"), reverse("accounts:invitation-list")
OVER = "That search is over; type it again."


@pytest.fixture
def admin(two_hospitals, client_of) -> Client:
    return client_of(two_hospitals.a.admin)


@pytest.fixture
def crowd(two_hospitals) -> None:
    for number in range(27):
        make_member(two_hospitals.a.hospital, Role.GRADER, name=f"Quillfeather {number:02}")


def names(page) -> list[str]:
    assert page.status_code == 200
    return [member.name for member in page.context["page"].rows]


def test_search_goes_on_under_an_id_that_pages_carry_along(admin, crowd):
    sent = admin.post(PEOPLE, {"words": " quill \0 feather", "role": "grader", "state": "nonsense"})
    assert names(admin.get(sent.url)) == []

    sent = admin.post(PEOPLE, {"words": "  QUILLFEATHER\0 ", "role": "grader", "state": "nonsense"})
    assert sent.status_code == 302
    assert re.fullmatch(rf"{PEOPLE}\?search=[\w-]{{12}}&role=grader", sent.url)
    first = admin.get(sent.url)
    assert 'value="QUILLFEATHER"' in first.text
    [link] = re.findall(r'rel="next" href="([^"]+)"', first.text)
    second = admin.get(PEOPLE + link.replace("&amp;", "&"))
    assert len(names(first)) == 25
    assert len(names(second)) == 2
    assert all(name.startswith("Quillfeather") for name in names(first) + names(second))
    # Reloading, and going back, is asking again.
    assert names(admin.get(sent.url)) == names(first)


def test_list_without_words_has_a_plain_address(admin):
    assert found_at(admin, " ") == PEOPLE
    assert admin.post(PEOPLE, {"mfa": "with"}).url == f"{PEOPLE}?mfa=with"
    assert admin.post(INVITATIONS, {"state": "accepted"}).url == f"{INVITATIONS}?state=accepted"


def test_two_tabs_search_apart(admin, crowd):
    one, other = found_at(admin, "feather 01"), found_at(admin, "feather 02")
    assert names(admin.get(one)) == ["Quillfeather 01"]
    assert names(admin.get(other)) == ["Quillfeather 02"]
    assert names(admin.get(one)) == ["Quillfeather 01"]


def test_search_that_is_over_shows_the_whole_list_and_says_so(admin, settings):
    address = found_at(admin, "nobody")
    assert OVER not in admin.get(address).text
    cache.delete(key_of(address))
    for over in (address, f"{PEOPLE}?search=" + "x" * 5000, f"{PEOPLE}?search=Quillfeather"):
        page = admin.get(over)
        assert OVER in page.text
        assert len(names(page)) == 5
        assert "Quillfeather" not in page.text


def test_search_lasts_while_its_list_is_looked_at(admin):
    address = found_at(admin, "staff")
    key = key_of(address)
    cache.touch(key, 5)
    admin.get(address)
    assert remaining_s(key) > settings.SESSION_IDLE_S - 60


def test_words_come_back_to_the_session_and_the_hospital_that_they_were_typed_in(
    two_hospitals, client_of, admin
):
    hospitals = two_hospitals.a.hospital, two_hospitals.b.hospital
    address = found_at(admin, "staff of")
    colleague = make_member(hospitals[0], Role.HOSPITAL_ADMIN)
    also = {"name": "Also here", "roles": [Role.HOSPITAL_ADMIN]}
    Membership(user=two_hospitals.a.admin, hospital=hospitals[1], **also).save()
    for stranger in (client_of(colleague), client_of(two_hospitals.a.admin)):
        page = stranger.get(address)
        assert OVER in page.text
        assert "staff of" not in page.text
    admin.post("/accounts/hospital/", {"hospital": str(hospitals[1].pk)})
    assert OVER in admin.get(address).text
    admin.post("/accounts/hospital/", {"hospital": str(hospitals[0].pk)})
    assert names(admin.get(address)) == ["Staff of Hospital A"]


def test_kept_words_are_sealed_and_open_under_their_own_id_alone(admin):
    one, other = found_at(admin, "first"), found_at(admin, "second")
    keys = [key_of(one), key_of(other)]
    held = json.dumps([cache.get(key) for key in keys])
    assert "first" not in held
    assert "second" not in held
    values = [cache.get(key) for key in keys]
    for key, swapped in zip(keys, reversed(values), strict=True):
        cache.set(key, swapped, 60)
    for address in (one, other):
        assert OVER in admin.get(address).text


def test_search_is_answered_while_redis_is_away(admin, crowd, monkeypatch):
    address = found_at(admin, "quillfeather")

    def away(*arguments, **options):
        raise RedisAway

    monkeypatch.setattr(searches.cache, "set", away)
    monkeypatch.setattr(searches.cache, "get", away)
    page = searched(admin, PEOPLE, "quillfeather", role="grader")
    assert page.redirect_chain == []
    assert len(names(page)) == 25
    assert 'rel="next"' not in page.text
    assert "Type more letters" in page.text
    assert OVER in admin.get(address).text


def found_at(client, words: str) -> str:
    return client.post(PEOPLE, {"words": words}).url


def key_of(address: str) -> str:
    """Return under which name the words of an address are kept, as the cache wants it."""
    [found] = cache._cache.get_client().keys(f"*search:*:{address.partition('search=')[2]}")
    return found.decode().removeprefix(cache.make_key(""))


def remaining_s(key: str) -> int:
    return cache._cache.get_client().ttl(cache.make_key(key))
