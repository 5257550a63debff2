"""Make the demo: two hospitals that can't see each other, their people, and synthetic patients."""

import contextlib
import datetime as dt
import secrets
from dataclasses import dataclass

from accounts.keys.errors import KeyDestroyed
from accounts.models import Hospital, User
from accounts.permissions import Role
from accounts.scoping import hospital_scope
from accounts.selectors import hospital_by_name
from accounts.services import hospital_create, membership_create, user_create
from workspace.models import Patient
from workspace.patients.registering import patient_create
from workspace.schemas import DiabetesType, Sex
from workspace.selectors import patient_by_mrn

HOSPITALS = {"north": "North Clinic (demo)", "south": "South Clinic (demo)"}
OPERATOR_EMAIL = "operator@demo.example"
START_CHECK_EMAIL = "start-check@demo.example"
PATIENTS_PER_HOSPITAL = 6
NUMBER_WORDS = (
    "One Two Three Four Five Six Seven Eight Nine Ten Eleven Twelve".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class DemoPerson:
    """Somebody who can sign in. `password` is None when they were there before."""

    hospital: str
    role: str
    email: str
    password: str | None


def demo_create() -> list[DemoPerson]:
    """Make what is missing of the demo and leave the rest alone; safe to run again.

    Passwords are random and known only to the caller: the database keeps their hashes.
    """
    people = [_person(OPERATOR_EMAIL, "Platform operator", "", is_operator=True)]
    for number, (key, name) in enumerate(HOSPITALS.items()):
        hospital = hospital_by_name(name) or hospital_create(name=name)
        people += [_member(hospital, key, role) for role in Role]
        _patients(hospital, first=number * PATIENTS_PER_HOSPITAL)
    return people


def demo_start_check_account() -> tuple[str, str]:
    """Return e-mail and a fresh password of the account that submits the first case at each start.

    The password of the last start is forgotten, so nothing has to be stored.
    """
    password = secrets.token_urlsafe(16)
    user = User.objects.filter(email=START_CHECK_EMAIL).first()
    if user is None:
        user = user_create(email=START_CHECK_EMAIL, name="Start check", password=password)
        hospital = hospital_by_name(HOSPITALS["north"])
        membership_create(user=user, hospital=hospital, roles=[Role.STAFF])
        return user.email, password
    user.set_password(password)
    user.save(update_fields=["password"])
    return user.email, password


def _member(hospital: Hospital, key: str, role: Role) -> DemoPerson:
    email = f"{role.value.replace('_', '-')}@{key}.demo.example"
    person = _person(email, f"{role.label} at {hospital.name}", role.label, hospital=hospital.name)
    if person.password:
        user = User.objects.get(email=email)
        membership_create(user=user, hospital=hospital, roles=[role])
    return person


def _person(email: str, name: str, role: str, hospital: str = "", **fields) -> DemoPerson:
    if User.objects.filter(email=email).exists():
        return DemoPerson(hospital, role or name, email, None)
    password = secrets.token_urlsafe(12)
    User.objects.create_user(email, password, name=name, **fields)
    return DemoPerson(hospital, role or name, email, password)


def _patients(hospital: Hospital, *, first: int) -> None:
    # A hospital whose key somebody has destroyed stays as it is: nobody can register there.
    with hospital_scope(hospital.pk), contextlib.suppress(KeyDestroyed):
        for number in range(first, first + PATIENTS_PER_HOSPITAL):
            mrn = f"DEMO-{number + 1:04d}"
            if patient_by_mrn(mrn) is None:
                _patient(hospital, mrn, number)


def _patient(hospital: Hospital, mrn: str, number: int) -> Patient:
    return patient_create(
        hospital_id=hospital.pk,
        mrn=mrn,
        name=f"Demo Patient {NUMBER_WORDS[number]}",
        birth_date=dt.date(1948 + 3 * number, 1 + number, 1 + 2 * number),
        sex=(Sex.FEMALE, Sex.MALE)[number % 2],
        diabetes_type=(DiabetesType.TYPE_2, DiabetesType.TYPE_2, DiabetesType.TYPE_1)[number % 3],
        diabetes_since_year=1995 + 2 * number,
        consent_messages=number % 2 == 0,
        consent_training=number % 3 == 0,
    )
