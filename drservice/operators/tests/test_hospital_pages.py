"""What operators do with hospitals, and what they see of them."""

import datetime as dt
import re

import pytest
from django.core import mail
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from accounts.limits.selectors import usage_of
from accounts.models import Hospital, Invitation, Membership
from accounts.selectors import memberships_of, user_by_email
from accounts.tests.factories import make_hospital
from drservice.operators.views.hospitals import OPERATOR_COMMANDS
from workspace.schemas import CaseState
from workspace.tests.factories import make_case, make_graded_case, make_patient, make_queued_case

NEW_PASSWORD = "a longer password 7"


@pytest.fixture
def operator(two_hospitals, client_of):
    return client_of(two_hospitals.operator)


def numbers_of(page, hospital: Hospital) -> str:
    """Return the words of one hospital's row."""
    row = next(row for row in re.findall(r"<tr.*?</tr>", page.text, re.S) if hospital.name in row)
    return " ".join(re.sub(r"<[^>]+>", " ", row).split())


def test_operator_starts_with_the_hospitals(operator):
    page = operator.get("/accounts/", follow=True)
    assert page.redirect_chain[-1][0] == "/operators/"
    assert "Hospital A" in page.text


def test_list_counts_what_each_hospital_has(operator, two_hospitals):
    a, b = two_hospitals.a.hospital, two_hospitals.b.hospital
    patient = make_patient(a)
    make_queued_case(patient)
    make_graded_case(patient)
    make_case(make_patient(a), lateralities=("OD",))

    page = operator.get("/operators/")

    people = len(two_hospitals.a.people)
    assert f"Open {people} 2 3 1 waiting" in numbers_of(page, a)
    assert "5 kB" in numbers_of(page, a), "five photographs of 1000 bytes"
    assert f"Open {people} 0 0 0" in numbers_of(page, b)
    assert "none yet" in numbers_of(page, b)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {"Lake Clinic", "River (East)"}),
        ("?q=lake", {"Lake Clinic"}),
        ("?q=(", {"River (East)"}),
        ("?q=%00lake", {"Lake Clinic"}),
        ("?state=closed", {"River (East)"}),
        ("?state=open", {"Lake Clinic"}),
        ("?state=sideways&page=x", {"Lake Clinic", "River (East)"}),
        ("?q[$ne]=1", {"Lake Clinic", "River (East)"}),
        ("?q=nowhere", set()),
    ],
)
def test_list_is_searched_and_filtered(db, client_of, make_operator, query, shown):
    make_hospital("Lake Clinic")
    closed = make_hospital("River (East)")
    Hospital.objects.filter(pk=closed.pk).update(is_active=False)
    page = client_of(make_operator()).get(f"/operators/{query}")
    assert {name for name in ("Lake Clinic", "River (East)") if name in page.text} == shown


def test_long_list_has_pages(db, client_of, make_operator):
    for number in range(27):
        make_hospital(f"Clinic {number:02d}")
    operator = client_of(make_operator())
    first, second = (
        operator.get("/operators/?q=Clinic"),
        operator.get("/operators/?q=Clinic&page=2"),
    )
    assert "Clinic 24" in first.text
    assert "Clinic 25" not in first.text
    assert "?q=Clinic&amp;page=2" in first.text
    assert "Clinic 26" in second.text


def test_hospital_page_says_where_cases_stand(operator, two_hospitals):
    hospital = two_hospitals.a.hospital
    make_graded_case(make_patient(hospital))
    page = operator.get(f"/operators/hospitals/{hospital.pk}/")
    for state in CaseState:
        assert state.label in page.text
    assert re.search(r"Graded</dt><dd class=\"number\">1<", page.text)


def accept_by_link(page) -> HttpResponse:
    """Take up the invitation whose link a page shows, as somebody without an account."""
    link = re.search(r'value="(http://testserver/[^"]+)"', page.text)[1]
    newcomer = Client()
    answer = newcomer.get(link, follow=True)
    said = {"name": "Ada", "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    address = answer.redirect_chain[-1][0] if answer.redirect_chain else link
    return newcomer.post(address, said, follow=True)


def test_operator_adds_a_hospital_whose_invited_admin_gets_in(operator, settings):
    settings.MAIL_REACHES_PEOPLE = False
    fields = {"name": " Lake  Clinic", "admin_name": "Ada", "admin_email": "Ada@Lake.example"}
    page = operator.post("/operators/hospitals/add/", fields)
    assert "Ada is invited" in page.text
    hospital = Hospital.objects.get(name="Lake Clinic")
    detail = f"/operators/hospitals/{hospital.pk}/"
    assert "nobody can manage its people" in operator.get(detail).text
    assert "ada@lake.example" in operator.get(detail).text

    assert accept_by_link(page).status_code == 200
    [membership] = memberships_of(user_by_email("ada@lake.example"))
    assert (membership.hospital, membership.roles) == (hospital, ["hospital_admin"])
    assert "nobody can manage its people" not in operator.get(detail).text

    again = operator.post("/operators/hospitals/add/", fields)
    assert again.status_code == 422
    assert "already exists" in again.text


def test_operator_brings_in_no_admin_while_one_is_at_work(operator, two_hospitals, client_of):
    hospital = two_hospitals.a.hospital
    address = f"/operators/hospitals/{hospital.pk}/invite/"
    fields = {"name": "Myself", "email": "myself@lake.example"}
    assert client_of(two_hospitals.a.admin).get("/accounts/people/").status_code == 200
    refused = operator.post(address, fields)
    assert refused.status_code == 422
    assert "they invite further people" in refused.text
    assert not Invitation.objects.exists()

    long_ago = timezone.now() - dt.timedelta(days=31)
    Membership.objects.filter(hospital=hospital).update(last_seen_at=long_ago)
    assert operator.post(address, fields).status_code == 200


def test_invitation_goes_by_mail_and_again_with_a_new_link(operator, two_hospitals, settings):
    settings.MAIL_REACHES_PEOPLE = True
    address = f"/operators/hospitals/{two_hospitals.a.hospital.pk}/invite/"
    fields = {"name": "Ada", "email": "ada@lake.example"}
    for _ in range(2):
        assert "on its way" in operator.post(address, fields).text
    first, second = mail.outbox
    assert second.to == ["ada@lake.example"]
    assert "Hospital A" in second.subject
    assert first.body != second.body
    member = operator.post(address, {"name": "A", "email": two_hospitals.a.staff.email})
    assert member.status_code == 422
    assert "works here already" in member.text


def test_closing_shuts_members_out_until_it_is_opened(operator, two_hospitals, client_of):
    hospital, nurse = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)
    page = f"/operators/hospitals/{hospital.pk}/"
    assert nurse.get("/cases/").status_code == 200

    unsaid = operator.post(f"{page}close/", {"reason": "  "})
    assert unsaid.status_code == 422
    assert nurse.get("/cases/").status_code == 200

    assert operator.post(f"{page}close/", {"reason": "Contract ended"}).status_code == 302
    assert nurse.get("/cases/").status_code == 404
    assert "Closed" in operator.get(page).text

    assert operator.post(f"{page}open/", {"reason": "Renewed"}).status_code == 302
    assert nurse.get("/cases/").status_code == 200


def test_renaming_refuses_a_name_that_is_taken(operator, two_hospitals):
    address = f"/operators/hospitals/{two_hospitals.a.hospital.pk}/name/"
    taken = operator.post(address, {"name": "Hospital B", "reason": "Merged"})
    assert taken.status_code == 422
    assert "already exists" in taken.text
    assert operator.post(address, {"name": "Hospital  C", "reason": "Moved"}).status_code == 302
    assert Hospital.objects.get(pk=two_hospitals.a.hospital.pk).name == "Hospital C"


def test_limits_are_set_and_given_back_to_the_default(operator, two_hospitals, settings):
    settings.QUOTA_PHOTOGRAPHS_A_DAY = 4321
    detail = f"/operators/hospitals/{two_hospitals.a.hospital.pk}/"
    assert "of 4321" in operator.get(detail).text

    said = {"photographs_a_day": "12", "gigabytes_in_all": "2.5", "reason": "A small clinic"}
    assert operator.post(f"{detail}limits/", said).status_code == 302
    assert limits_of(two_hospitals.a.hospital) == {
        "photographs_a_day": 12,
        "bytes_in_all": 2_500_000_000,
    }
    assert limits_of(two_hospitals.b.hospital) == {}
    assert "of 12" in operator.get(detail).text
    assert "of 2.5 GB" in operator.get(detail).text
    assert 'value="2.5"' in operator.get(f"{detail}limits/").text

    assert operator.post(f"{detail}limits/", {"reason": "Grown"}).status_code == 302
    assert limits_of(two_hospitals.a.hospital) == {}
    for wrong in ({"photographs_a_day": "-1"}, {"gigabytes_in_all": "nan"}, {"reason": ""}):
        assert operator.post(f"{detail}limits/", {"reason": "x", **wrong}).status_code == 422


def limits_of(hospital: Hospital) -> dict:
    return {one.limit: one.most for one in usage_of(hospital.pk) if not one.is_default}


def test_times_are_those_of_the_newest_case(operator, two_hospitals):
    case = make_case(make_patient(two_hospitals.a.hospital))
    page = operator.get(f"/operators/hospitals/{two_hospitals.a.hospital.pk}/")
    assert case.created_at.astimezone(dt.UTC).strftime("%b %Y, %H:%M") in page.text


@pytest.mark.parametrize("command", OPERATOR_COMMANDS)
def test_command_on_the_operators_page_exists(command, capsys):
    with pytest.raises(SystemExit) as ended:
        call_command(command, "--help")
    assert ended.value.code == 0
    assert command in capsys.readouterr().out
