"""A hospital that asks for second factors shows nothing to those who have none."""

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from accounts.models import Hospital
from accounts.sign_in.tests.factories import add_app
from accounts.tests.factories import make_hospital, make_member, make_user
from workspace.tests.factories import make_graded_case, make_patient

pytestmark = pytest.mark.django_db

SECURITY = "/accounts/security/"


@pytest.fixture
def strict():
    hospital = make_hospital("Strict Hospital")
    Hospital.objects.filter(pk=hospital.pk).update(mfa_required=True)
    return Hospital.objects.get(pk=hospital.pk)


def test_member_without_a_second_factor_is_led_to_set_one_up(strict, client_of):
    client = client_of(make_member(strict, "staff", "hospital_admin"))
    case = make_graded_case(make_patient(strict, name="Amara Diallo"))
    pages = ["/", "/accounts/", "/cases/", "/patients/", "/accounts/people/", f"/cases/{case.pk}/"]
    for page in pages:
        answer = client.get(page, follow=True)
        assert answer.redirect_chain[-1][0] == SECURITY, page
        assert "Set up a second factor first" in answer.text
        assert "Amara Diallo" not in answer.text
    assert client.post("/patients/new/", {"name": "X"})["Location"] == SECURITY


def test_member_may_still_change_what_is_theirs(strict, client_of):
    client = client_of(make_member(strict, "staff"))
    for page in ("password/", "sessions/", "security/"):
        assert client.get(f"/accounts/{page}").status_code == 200
    assert client.post("/accounts/sign-out/").status_code == 302


def test_member_with_a_second_factor_goes_on(strict, client_of):
    user = make_member(strict, "staff")
    client = client_of(user)
    assert client.get("/cases/")["Location"] == SECURITY
    add_app(user)
    assert client.get("/cases/").status_code == 200


def test_other_hospital_of_the_same_person_asks_for_none(strict, client_of):
    user = make_member(make_hospital(), "staff")
    assert client_of(user).get("/cases/").status_code == 200


def test_turning_it_on_counts_from_the_next_click(client_of):
    hospital = make_hospital()
    client = client_of(make_member(hospital, "staff"))
    assert client.get("/cases/").status_code == 200
    Hospital.objects.filter(pk=hospital.pk).update(mfa_required=True)
    assert client.get("/cases/")["Location"] == SECURITY


async def test_events_are_kept_back_as_well(strict, async_client_of):
    user = await sync_to_async(make_member)(strict, "staff")
    client = await sync_to_async(async_client_of)(user)
    assert (await client.get("/cases/events/"))["Location"] == SECURITY


def test_operators_need_one_where_settings_say_so(client_of):
    operator = make_user(is_operator=True)
    client = client_of(operator)
    assert client.get("/accounts/", follow=True).status_code == 200
    with override_settings(MFA_FOR_OPERATORS=True):
        assert client.get("/accounts/")["Location"] == SECURITY
        add_app(operator)
        assert client.get("/accounts/", follow=True).redirect_chain[-1][0] != SECURITY
