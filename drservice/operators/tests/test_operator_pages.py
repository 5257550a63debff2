"""Who runs the platform."""

import re

from accounts.models import User
from accounts.selectors import user_by_email


def test_operator_adds_another_who_chooses_a_password_first(make_operator, client_of):
    fields = {"name": "Bo Ops", "email": "Bo@ops.example"}
    page = client_of(make_operator()).post("/operators/people/add/", fields)
    password = re.search(r'id="first-password">([^<]+)<', page.text)[1]
    added = user_by_email("bo@ops.example")
    assert added.check_password(password)
    answer = client_of(added).get("/operators/")
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/password/")


def test_nobody_with_an_account_becomes_an_operator(two_hospitals, client_of):
    fields = {"name": "A nurse", "email": two_hospitals.a.staff.email}
    page = client_of(two_hospitals.operator).post("/operators/people/add/", fields)
    assert page.status_code == 422
    assert "an account of their own" in page.text
    assert not user_by_email(two_hospitals.a.staff.email).is_operator


def test_deactivated_operator_is_out_with_the_next_click(make_operator, client_of):
    one, other = make_operator(), make_operator()
    page, others_page = client_of(one), client_of(other)
    assert others_page.get("/operators/").status_code == 200

    address = f"/operators/people/{other.pk}"
    assert page.post(f"{address}/deactivate/", {"reason": "Left"}).status_code == 302
    assert others_page.get("/operators/").status_code == 302
    assert others_page.get("/operators/")["Location"].startswith("/accounts/sign-in/")

    assert page.post(f"{address}/activate/", {"reason": "Back"}).status_code == 302
    assert User.objects.get(pk=other.pk).is_active


def test_last_operator_stays(make_operator, client_of):
    only = make_operator()
    page = client_of(only).post(f"/operators/people/{only.pk}/deactivate/", {"reason": "Tired"})
    assert page.status_code == 422
    assert "last active operator" in page.text
    assert User.objects.get(pk=only.pk).is_active


def test_members_of_hospitals_are_no_operators_to_deactivate(two_hospitals, client_of):
    pk = two_hospitals.a.staff.pk
    operator = client_of(two_hospitals.operator)
    address = f"/operators/people/{pk}/deactivate/"
    assert operator.post(address, {"reason": "Curious"}).status_code == 404
    assert User.objects.get(pk=pk).is_active
