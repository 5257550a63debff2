"""A hospital's people: adding, changing and deactivating them, and only one's own."""

import re
import threading
from datetime import timedelta
from functools import partial

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from bson import ObjectId
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.audit.models import AuditEvent
from accounts.hospital_services import hospital_add, hospital_close, hospital_open
from accounts.models import Hospital, Membership, User
from accounts.permissions import Role
from accounts.scoping import hospital_scope
from accounts.selectors import active_admins, memberships_of
from accounts.services import (
    LAST_ADMIN,
    NOT_ABLE_TO_ADMIN,
    NOT_ADMIN,
    admin_transfer,
    membership_activate,
    membership_create,
    membership_deactivate,
    membership_update,
)
from accounts.tests.factories import PASSWORD, make_hospital, make_member, make_user
from drservice.testing.pages import body_without_token, searched

PEOPLE = "/accounts/people/"
SIGN_IN = "/accounts/sign-in/"


def membership_of(user: User, hospital: Hospital) -> Membership:
    return Membership.objects.get(user=user, hospital=hospital)


@pytest.mark.django_db
def test_first_password_opens_no_page_of_the_hospital(client_of):
    """An account that was made by a command has a password that somebody else has seen."""
    hospital, _ = hospital_add(name="New", admin_email="new-admin@x.example", admin_name="Admin")
    [membership] = Membership.objects.filter(hospital=hospital)
    newcomer = client_of(membership.user)
    assert newcomer.get(PEOPLE)["Location"] == "/accounts/password/"
    posted = newcomer.post(f"{PEOPLE}add/", {"name": "X", "email": "x@example.org"})
    assert posted["Location"] == "/accounts/password/"
    assert newcomer.post("/accounts/sign-out/").status_code == 302


def test_command_makes_nobody_with_an_account_an_admin(two_hospitals):
    there = two_hospitals.b.grader
    with pytest.raises(ValidationError, match="only by accepting an invitation"):
        hospital_add(name="New", admin_email=there.email.upper(), admin_name="Admin")
    assert not Hospital.objects.filter(name="New").exists()
    assert [one.hospital.name for one in memberships_of(there)] == ["Hospital B"]


def test_admin_learns_and_ends_nothing_of_somebody_who_never_came(two_hospitals, client_of):
    admin, nurse = client_of(two_hospitals.a.admin), two_hospitals.b.staff
    Authenticator.objects.create(user=nurse, type=Authenticator.Type.TOTP, data={})
    at_work = client_of(nurse)
    assert at_work.get("/cases/").status_code == 200
    membership = membership_create(user=nurse, hospital=two_hospitals.a.hospital, roles=["staff"])
    assert nurse.email not in admin.get(PEOPLE, {"mfa": "with"}).text
    assert nurse.email in admin.get(PEOPLE, {"mfa": "without"}).text
    admin.post(f"{PEOPLE}{membership.pk}/sign-out/")
    assert at_work.get("/cases/").status_code == 200

    at_work.post("/accounts/hospital/", {"hospital": str(two_hospitals.a.hospital.pk)})
    at_work.get("/cases/")
    assert nurse.email in admin.get(PEOPLE, {"mfa": "with"}).text
    admin.post(f"{PEOPLE}{membership.pk}/sign-out/")
    assert at_work.get("/cases/").status_code == 302


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "N", "email": "n@example.org"}, "Choose at least one role."),
        ({"name": "N", "email": "n@example.org", "roles": ["surgeon"]}, "surgeon is not one of"),
        ({"name": "N", "email": "not an address", "roles": ["staff"]}, "valid email address"),
        ({"name": " ", "email": "n@example.org", "roles": ["staff"]}, "This field is required."),
        # Turned, and of no width: nobody could tell on the trail who that is.
        ({"name": "\u202e\u200b", "email": "n@example.org", "roles": ["staff"]}, "is required."),
    ],
)
def test_wrong_entry_is_answered_with_what_is_wrong(two_hospitals, client_of, fields, message):
    answer = client_of(two_hospitals.a.admin).post(f"{PEOPLE}add/", fields)
    assert answer.status_code == 422
    assert message in answer.text
    assert not User.objects.filter(email="n@example.org").exists()


def test_member_is_added_once(two_hospitals, client_of):
    fields = {"name": "Again", "email": two_hospitals.a.staff.email, "roles": ["staff"]}
    answer = client_of(two_hospitals.a.admin).post(f"{PEOPLE}add/", fields)
    assert answer.status_code == 422
    assert "works here already" in answer.text


def test_changed_roles_and_access_count_from_the_next_request(two_hospitals, client_of):
    hospital, colleague = (
        two_hospitals.a.hospital,
        make_member(two_hospitals.a.hospital, Role.STAFF, Role.HOSPITAL_ADMIN),
    )
    admin, open_session = client_of(two_hospitals.a.admin), client_of(colleague)
    page = f"{PEOPLE}{membership_of(colleague, hospital).pk}/"
    assert open_session.get(PEOPLE).status_code == 200

    assert admin.post(page, {"name": "Col", "roles": ["staff"]})["Location"] == PEOPLE
    refused = open_session.get(PEOPLE)
    assert refused.status_code == 403
    assert "manage the hospital" in refused.text
    admin.post(page, {"name": "Col", "roles": ["staff", "hospital_admin"]})
    assert open_session.get(PEOPLE).status_code == 200

    assert admin.post(f"{page}deactivate/")["Location"] == PEOPLE
    assert open_session.get(PEOPLE).status_code == 404
    assert "no place in a hospital" in open_session.get("/accounts/").text
    admin.post(f"{page}activate/")
    assert open_session.get(PEOPLE).status_code == 200

    User.objects.filter(pk=colleague.pk).update(is_active=False)
    assert open_session.get(PEOPLE)["Location"].startswith(SIGN_IN)


def test_inactive_hospital_counts_nowhere(two_hospitals, client_of):
    both = make_member(two_hospitals.a.hospital, Role.HOSPITAL_ADMIN)
    membership_create(user=both, hospital=two_hospitals.b.hospital, roles=[Role.HOSPITAL_ADMIN])
    admin, session = client_of(two_hospitals.a.admin), client_of(both)
    assert "Hospital A" in session.get(PEOPLE).text

    hospital_close(hospital=two_hospitals.a.hospital, reason="Contract ended")
    assert admin.get(PEOPLE).status_code == 404
    moved = session.get(PEOPLE).text
    assert "Hospital B" in moved
    assert "Hospital A" not in moved
    to_closed = {"hospital": str(two_hospitals.a.hospital.pk)}
    assert session.post("/accounts/hospital/", to_closed).status_code == 404

    hospital_open(hospital=two_hospitals.a.hospital, reason="Renewed")
    assert admin.get(PEOPLE).status_code == 200


def test_switcher_changes_to_own_hospitals_only(two_hospitals, client_of):
    user = make_member(two_hospitals.a.hospital, Role.HOSPITAL_ADMIN)
    membership_create(user=user, hospital=two_hospitals.b.hospital, roles=[Role.HOSPITAL_ADMIN])
    session = client_of(user)
    assert "Who works at Hospital A" in session.get(PEOPLE).text
    to_b = {"hospital": str(two_hospitals.b.hospital.pk)}
    assert session.post("/accounts/hospital/", to_b).status_code == 302
    assert "Who works at Hospital B" in session.get(PEOPLE).text

    refused = []
    for wrong in (make_hospital().pk, ObjectId(), "", "0", '{"$ne": null}'):
        answer = session.post("/accounts/hospital/", {"hospital": str(wrong)})
        assert answer.status_code == 404
        refused.append(body_without_token(answer))
    assert len(set(refused)) == 1
    assert "Who works at Hospital B" in session.get(PEOPLE).text

    membership_deactivate(membership=membership_of(user, two_hospitals.b.hospital))
    assert "Who works at Hospital A" in session.get(PEOPLE).text


def in_two_hospitals(two_hospitals) -> tuple[User, Client]:
    """Return somebody who works in A and in B, signed in in A, with a browser that checks forms."""
    user = make_member(two_hospitals.a.hospital, Role.STAFF)
    membership_create(user=user, hospital=two_hospitals.b.hospital, roles=[Role.STAFF])
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user, browser


def token_in(page) -> str:
    return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text).group(1)


def registered(browser: Client, token: str):
    patient = {"name": "Ana", "mrn": "A-1", "birth_date": "1950-01-02", "sex": "F"}
    sent = {**patient, "diabetes_type": "2", "csrfmiddlewaretoken": token}
    return browser.post("/patients/new/", sent)


def test_form_that_was_opened_in_one_hospital_changes_nothing_in_another(two_hospitals):
    _, browser = in_two_hospitals(two_hospitals)
    token = token_in(browser.get("/patients/new/"))
    to_b = {"hospital": str(two_hospitals.b.hospital.pk), "csrfmiddlewaretoken": token}
    assert browser.post("/accounts/hospital/", to_b).status_code == 302

    at_once = registered(browser, token)
    assert at_once.status_code == 403
    assert "went to another hospital" in at_once.text
    browser.get("/patients/")
    assert registered(browser, token).status_code == 403
    assert registered(browser, token_in(browser.get("/patients/new/"))).status_code == 302


def test_form_changes_nothing_elsewhere_when_its_hospital_shuts_somebody_out(two_hospitals):
    user, browser = in_two_hospitals(two_hospitals)
    token = token_in(browser.get("/patients/new/"))
    membership_deactivate(membership=membership_of(user, two_hospitals.a.hospital))
    assert registered(browser, token).status_code == 403
    token = token_in(browser.get("/patients/new/"))
    membership_activate(membership=membership_of(user, two_hospitals.a.hospital))
    browser.post("/accounts/sign-out/", {"csrfmiddlewaretoken": token})
    assert "_auth_user_id" not in browser.session


def test_operator_stays_out_of_a_hospital_that_adds_them(two_hospitals, client_of):
    operator = two_hospitals.operator
    page = client_of(operator).get("/accounts/", follow=True)
    assert "manage.py hospital_create" in page.text
    membership_create(user=operator, hospital=two_hospitals.a.hospital, roles=list(Role))
    assert memberships_of(operator) == []
    assert client_of(operator).get(PEOPLE).status_code == 404


def test_last_active_admin_stays(two_hospitals, client_of):
    hospital, admin = two_hospitals.a.hospital, two_hospitals.a.admin
    membership = membership_of(admin, hospital)
    session, page = client_of(admin), f"{PEOPLE}{membership.pk}/"
    # An admin who can't sign in doesn't count as one.
    make_member(hospital, Role.HOSPITAL_ADMIN, is_active=False)
    refused = session.post(page, {"name": "A", "roles": ["staff"]})
    assert refused.status_code == 422
    assert "last active admin" in refused.text
    assert "last active admin" in session.post(f"{page}deactivate/", follow=True).text
    membership.refresh_from_db()
    assert membership.is_active
    assert membership.roles == [Role.HOSPITAL_ADMIN]

    other = membership_of(make_member(hospital, Role.HOSPITAL_ADMIN), hospital)
    membership_deactivate(membership=other)
    with pytest.raises(ValidationError, match=LAST_ADMIN):
        membership_deactivate(membership=membership)
    membership_activate(membership=other)
    # Who gives up their own place is led on, not into a door that has just closed.
    assert session.post(f"{page}deactivate/", follow=True).status_code == 200
    membership_activate(membership=membership)
    membership_update(membership=membership, name="A", roles=[Role.STAFF])
    assert [one.pk for one in active_admins(hospital.pk)] == [other.pk]


def test_admin_hands_over_and_steps_down_in_one_act(two_hospitals, client_of):
    hospital, admin = two_hospitals.a.hospital, two_hospitals.a.admin
    taker = membership_of(two_hospitals.a.staff, hospital)
    session, page = client_of(admin), f"{PEOPLE}{taker.pk}/transfer/"
    assert "Make Staff of Hospital A the admin" in session.get(page).text
    # Not by accident.
    assert session.post(page, {"roles": ["auditor"]}).status_code == 422
    greedy = {"roles": ["auditor", "hospital_admin"], "confirmed": "on"}
    assert session.post(page, greedy).status_code == 422
    done = session.post(page, {"roles": ["auditor"], "confirmed": "on"})
    assert done["Location"] == "/accounts/"
    assert membership_of(admin, hospital).roles == ["auditor"]
    taker.refresh_from_db()
    assert taker.roles == ["staff", "hospital_admin"]
    assert [one.pk for one in active_admins(hospital.pk)] == [taker.pk]
    assert session.get(PEOPLE).status_code == 403

    # Back again, by one who keeps nothing and so leaves.
    giver = client_of(two_hospitals.a.staff)
    giver.post(f"{PEOPLE}{membership_of(admin, hospital).pk}/transfer/", {"confirmed": "on"})
    taker.refresh_from_db()
    assert not taker.is_active
    assert giver.get("/cases/").status_code == 404
    assert [one.user_id for one in active_admins(hospital.pk)] == [admin.pk]


def test_nobody_becomes_admin_who_could_not_act(two_hospitals):
    hospital = two_hospitals.a.hospital
    giver = membership_of(two_hospitals.a.admin, hospital)
    away = membership_of(two_hospitals.a.grader, hospital)
    membership_deactivate(membership=away)
    locked = membership_of(make_member(hospital, Role.STAFF, is_active=False), hospital)
    for taker, words in (
        (away, NOT_ABLE_TO_ADMIN),
        (locked, NOT_ABLE_TO_ADMIN),
        (giver, NOT_ADMIN),
    ):
        with pytest.raises(ValidationError, match=words):
            admin_transfer(membership=taker, giver=giver, giver_roles=[])
    no_admin = membership_of(two_hospitals.a.auditor, hospital)
    with pytest.raises(ValidationError, match=NOT_ADMIN):
        admin_transfer(membership=giver, giver=no_admin, giver_roles=[])
    assert [one.pk for one in active_admins(hospital.pk)] == [giver.pk]


def hand_over(giver_pk: ObjectId, taker_pk: ObjectId) -> Membership:
    giver, taker = (Membership.objects.get(pk=pk) for pk in (giver_pk, taker_pk))
    return admin_transfer(membership=taker, giver=giver, giver_roles=[])


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_hand_over_to_each_other_at_once_leave_one():
    for _ in range(3):
        hospital = make_hospital()
        one, other = (
            membership_of(make_member(hospital, Role.HOSPITAL_ADMIN), hospital) for _ in range(2)
        )
        at_once([partial(hand_over, one.pk, other.pk), partial(hand_over, other.pk, one.pk)])
        assert len(active_admins(hospital.pk)) == 1


def test_colleague_is_signed_out_everywhere(two_hospitals, client_of):
    staff = two_hospitals.a.staff
    sessions = [client_of(staff), client_of(staff)]
    assert {session.get("/cases/").status_code for session in sessions} == {200}
    assert UserSession.objects.filter(user=staff).count() == 2
    page = f"{PEOPLE}{membership_of(staff, two_hospitals.a.hospital).pk}/sign-out/"
    assert client_of(two_hospitals.a.admin).post(page)["Location"] == PEOPLE
    assert [session.get("/cases/").status_code for session in sessions] == [302, 302]
    assert not UserSession.objects.filter(user=staff).exists()
    assert client_of(User.objects.get(pk=staff.pk)).get("/cases/").status_code == 200


def found(admin, words: str = "", **wanted) -> list[str]:
    page = searched(admin, PEOPLE, words, **wanted) if words else admin.get(PEOPLE, wanted)
    assert page.status_code == 200
    return [member.name for member in page.context["page"].rows]


def test_people_are_found_by_name_role_access_and_second_factor(two_hospitals, client_of):
    hospital = two_hospitals.a.hospital
    gone = make_member(hospital, Role.GRADER, name="Gone Grader")
    membership_deactivate(membership=membership_of(gone, hospital))
    Authenticator.objects.create(user=two_hospitals.a.auditor, type="totp", data={})
    Authenticator.objects.create(user=two_hospitals.a.staff, type="recovery_codes", data={})
    admin = client_of(two_hospitals.a.admin)
    assert found(admin, mfa="with") == []
    Membership.objects.filter(hospital=hospital).update(last_seen_at=timezone.now())
    assert len(found(admin)) == 6
    assert found(admin, "STAFF of") == ["Staff of Hospital A"]
    assert found(admin, two_hospitals.a.grader.email) == ["Grader of Hospital A"]
    assert found(admin, role="grader") == ["Grader of Hospital A", "Gone Grader"]
    assert found(admin, "gone", role="grader") == ["Gone Grader"]
    assert found(admin, "gone", role="grader", state="active") == []
    assert found(admin, role="grader", state="active") == ["Grader of Hospital A"]
    assert found(admin, state="deactivated") == ["Gone Grader"]
    assert found(admin, mfa="with") == ["Auditor of Hospital A"]
    assert len(found(admin, mfa="without")) == 5
    assert found(admin, "Hospital B") == []
    assert len(found(admin, role="nonsense", state="{}", mfa="x", page="-3")) == 6


def test_long_list_of_people_comes_in_pages(two_hospitals, client_of):
    for number in range(27):
        make_member(two_hospitals.a.hospital, Role.GRADER, name=f"Grader {number:02}")
    admin = client_of(two_hospitals.a.admin)
    first, second = found(admin, role="grader"), found(admin, role="grader", page="2")
    assert (len(first), len(second)) == (25, 3)
    assert not set(first) & set(second)
    assert "role=grader&amp;page=2" in admin.get(PEOPLE, {"role": "grader"}).text


def test_last_visit_is_written_for_clicks_every_few_minutes(two_hospitals, client_of):
    staff, hospital = two_hospitals.a.staff, two_hospitals.a.hospital
    session = client_of(staff)
    session.get("/patients/", headers={"X-Background": "1"})
    assert membership_of(staff, hospital).last_seen_at is None
    session.get("/patients/")
    first = membership_of(staff, hospital).last_seen_at
    assert timezone.now() - first < timedelta(minutes=1)
    session.get("/patients/")
    assert membership_of(staff, hospital).last_seen_at == first
    Membership.objects.filter(user=staff).update(last_seen_at=first - timedelta(minutes=6))
    session.get("/patients/")
    assert membership_of(staff, hospital).last_seen_at >= first


def test_hospital_asks_everybody_for_a_second_factor(two_hospitals, client_of):
    admin, page = client_of(two_hospitals.a.admin), f"{PEOPLE}rules/"
    assert "5 without one" in admin.get(page).text
    assert admin.post(page, {"mfa_required": "on"})["Location"] == page
    two_hospitals.a.hospital.refresh_from_db()
    two_hospitals.b.hospital.refresh_from_db()
    assert two_hospitals.a.hospital.mfa_required
    assert not two_hospitals.b.hospital.mfa_required
    with hospital_scope(two_hospitals.a.hospital.pk):
        assert AuditEvent.objects.filter(subject_kind="hospital", action="change").count() == 1
    # Who has none is led to one, the admin too.
    assert "/accounts/" in admin.get(PEOPLE)["Location"]


def test_every_change_of_a_member_is_kept_in_the_trail(two_hospitals, client_of):
    hospital, admin = two_hospitals.a.hospital, client_of(two_hospitals.a.admin)
    member = membership_create(user=make_user(), hospital=hospital, roles=[Role.STAFF])
    page = f"{PEOPLE}{member.pk}/"
    admin.post(page, {"name": "N", "roles": ["grader"]})
    admin.post(f"{page}deactivate/")
    admin.post(f"{page}activate/")
    with hospital_scope(hospital.pk):
        kept = AuditEvent.objects.filter(subject_kind="member", subject_id=str(member.pk))
        actions = [(one.action, one.actor_id) for one in kept.order_by("seq")]
    by = str(two_hospitals.a.admin.pk)
    assert actions == [("create", ""), ("change", by), ("deactivate", by), ("activate", by)]


@pytest.mark.django_db(transaction=True)
def test_admins_who_deactivate_each_other_at_once_leave_one():
    for _ in range(5):
        hospital = make_hospital()
        admins = [
            membership_of(make_member(hospital, Role.HOSPITAL_ADMIN), hospital) for _ in range(4)
        ]
        outcomes = at_once(
            [lambda one=one: membership_deactivate(membership=one) for one in admins]
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, ValidationError)]
        assert [error.messages for error in refused] == [[LAST_ADMIN]]
        assert len(active_admins(hospital.pk)) == 1


def at_once(calls: list) -> list:
    """Run the calls in threads that start together; return what each returned or raised."""
    outcomes: list = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(number: int) -> None:
        start.wait()
        try:
            outcomes[number] = calls[number]()
        except Exception as error:  # the outcome under test
            outcomes[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


@pytest.mark.django_db
def test_password_change_ends_other_sessions_and_keeps_this_one(client_of):
    user = make_user()
    here, elsewhere = client_of(user), client_of(user)
    own = "another long password"
    wrong = {"old_password": "wrong", "new_password1": own, "new_password2": own}
    assert here.post("/accounts/password/", wrong).status_code == 422
    weak = {"old_password": PASSWORD, "new_password1": "short", "new_password2": "short"}
    assert "at least 10 characters" in here.post("/accounts/password/", weak).text

    endless = {"old_password": PASSWORD, "new_password1": own * 20, "new_password2": own * 20}
    assert "at most 256 characters" in here.post("/accounts/password/", endless).text

    right = {"old_password": PASSWORD, "new_password1": own, "new_password2": own}
    assert here.post("/accounts/password/", right).status_code == 302
    assert here.get("/accounts/").status_code == 200
    assert elsewhere.get("/accounts/")["Location"].startswith(SIGN_IN)
