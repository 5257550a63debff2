"""Sessions end: after a while without a click, and after a day's work in any case."""

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import RequestFactory

from accounts.access import member, signed_in
from accounts.models import User
from accounts.open_sessions import SESSION_BEGAN, SESSION_SEEN
from accounts.permissions import Capability, Role
from accounts.services import user_end_sessions
from accounts.tests.factories import make_hospital, make_member, make_user

START = "/accounts/"
MINUTE_S, HOUR_S = 60, 3600


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves on."""

    class Clock:
        now_s = 1_800_000_000

        def time(self) -> float:
            return self.now_s

    clock = Clock()
    monkeypatch.setattr("accounts.middleware.time", clock)
    monkeypatch.setattr("accounts.open_sessions.time", clock)
    return clock


@pytest.fixture
def session(db, clock, client_of):
    client = client_of(make_user())
    assert client.get(START).status_code == 200
    return client


def test_session_lasts_while_somebody_clicks(session, clock):
    for _ in range(5):
        clock.now_s += 14 * MINUTE_S
        assert session.get(START).status_code == 200


def test_session_ends_after_a_quarter_of_an_hour_without_a_click(session, clock):
    clock.now_s += 15 * MINUTE_S + 1
    answer = session.get(START)
    assert answer["Location"] == "/accounts/sign-in/?next=/accounts/"
    assert "You were signed out" in session.get(answer["Location"]).text
    assert session.get(START).status_code == 302


def test_what_is_sent_after_the_session_is_said_to_be_lost(session, clock):
    clock.now_s += 15 * MINUTE_S + 1
    answer = session.post("/patients/new/", {"name": "Amara Diallo"}, follow=True)
    assert "What you sent just now was not saved" in answer.text


def test_session_ends_after_a_day_of_clicking(session, clock):
    for _ in range(6 * 12):
        clock.now_s += 10 * MINUTE_S
        assert session.get(START).status_code == 200
    clock.now_s += 10 * MINUTE_S
    assert session.get(START).status_code == 302


def test_page_that_listens_by_itself_is_no_click(session, clock):
    for _ in range(16):
        clock.now_s += MINUTE_S
        answer = session.get(START, headers={"Accept": "text/event-stream"})
    assert answer.status_code == 302


def test_session_is_written_once_a_minute_at_most(session, clock):
    began_s = session.session[SESSION_BEGAN]
    clock.now_s += 59
    session.get(START)
    assert session.session[SESSION_SEEN] == began_s
    clock.now_s += 2
    session.get(START)
    assert session.session[SESSION_SEEN] == began_s + 61
    assert session.session[SESSION_BEGAN] == began_s


@pytest.mark.django_db
def test_all_sessions_of_one_person_end_at_once(client_of):
    user, colleague = make_user(), make_user()
    sessions = [client_of(user), client_of(user)]
    other = client_of(colleague)
    assert {session.get(START).status_code for session in [*sessions, other]} == {200}
    user_end_sessions(user=user)
    assert [session.get(START).status_code for session in sessions] == [302, 302]
    assert other.get(START).status_code == 200
    assert client_of(User.objects.get(pk=user.pk)).get(START).status_code == 200


@pytest.mark.django_db
def test_way_to_sign_in_leads_back_to_a_page_only(client):
    page, form = "/accounts/people/?page=2", "/accounts/people/add/"
    assert client.get(page)["Location"] == "/accounts/sign-in/?next=/accounts/people/%3Fpage%3D2"
    assert client.post(form)["Location"] == "/accounts/sign-in/"
    fragment = {"HX-Request": "true", "HX-Current-URL": "http://testserver/accounts/people/"}
    assert client.get(form, headers=fragment)["HX-Redirect"] == (
        "/accounts/sign-in/?next=/accounts/people/"
    )
    elsewhere = {"HX-Request": "true", "HX-Current-URL": "https://evil.example/accounts/people/"}
    assert client.get(form, headers=elsewhere)["HX-Redirect"] == "/accounts/sign-in/"


@pytest.mark.django_db
def test_answers_for_one_person_are_kept_in_no_cache(client_of):
    admin = client_of(make_member(make_hospital(), Role.HOSPITAL_ADMIN))
    for address in ("/accounts/", "/accounts/people/", "/accounts/people/add/"):
        assert "no-store" in admin.get(address)["Cache-Control"]
    assert "no-store" in admin.get("/accounts/sign-in/")["Cache-Control"]


@pytest.mark.parametrize("mark", [signed_in, member(Capability.SEE_RECORDS)])
async def test_marks_guard_asynchronous_views_too(mark):
    @mark
    async def view(request):
        return HttpResponse("inside")

    request = RequestFactory().get("/somewhere/")
    request.user, request.membership, request.htmx = Nobody(), None, False
    answer = await view(request)
    assert answer["Location"] == "/accounts/sign-in/?next=/somewhere/"
    assert view.access.kind == mark(lambda request: None).access.kind


class Nobody:
    is_authenticated = False


@pytest.mark.django_db
def test_database_removes_sessions_when_they_are_over():
    indexes = connection.database["django_session"].index_information().values()
    assert [index["key"] for index in indexes if index.get("expireAfterSeconds") == 0] == [
        [("expire_date", 1)]
    ]
