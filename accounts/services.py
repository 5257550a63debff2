"""Change hospitals, people and memberships."""

import re
import secrets
from collections.abc import Callable
from functools import wraps

from allauth.usersessions.models import UserSession
from bson import ObjectId
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.db.models import F
from django.utils import timezone

from accounts.announcements import access_announce
from accounts.audit.accounts import account_record
from accounts.audit.actions import Action
from accounts.audit.services import audit_record, audited, in_audited_transaction
from accounts.models import Hospital, Membership, User
from accounts.permissions import Role
from accounts.selectors import active_admins

# No letter or digit that could be taken for another one when it is read out or copied by hand.
FIRST_PASSWORD_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105
_GROUP = f"[{FIRST_PASSWORD_LETTERS}]{{4}}"
FIRST_PASSWORD = re.compile(rf"{_GROUP}(?:-{_GROUP}){{3}}")

MEMBER = "member"
LAST_ADMIN = "This is the hospital's last active admin. Make somebody else an admin first."
ALREADY_MEMBER = "This person already belongs to the hospital."
NOT_ADMIN = "Only an admin can hand the administration over."
NOT_ABLE_TO_ADMIN = "This person can't sign in here at the moment. Choose somebody else."


def hospital_create(*, name: str) -> Hospital:
    """Make a hospital. Raises ValidationError when the name is taken or empty."""
    hospital = Hospital(name=" ".join(name.split()))
    hospital.full_clean()
    hospital.save()
    return hospital


def user_create(*, email: str, name: str, password: str | None = None, **fields) -> User:
    """Make a person. Raises ValidationError when the e-mail is taken or not an address."""
    return User.objects.create_user(email, password, name=name, **fields)


def user_set_password(*, user: User, password: str) -> User:
    """Give a person the password that they chose themselves. Ends their other sessions."""
    user.set_password(password)
    user.must_change_password = False
    _password_save(user, Action.PASSWORD_CHANGE)
    access_announce(user.pk)
    return user


def user_reset_password(*, user: User) -> str:
    """Give a person a first password again and return it; it has to be changed at sign-in."""
    password = first_password()
    user.set_password(password)
    user.must_change_password = True
    _password_save(user, Action.PASSWORD_RESET)
    access_announce(user.pk)
    return password


@audited
def _password_save(user: User, action: Action) -> None:
    user.save(update_fields=["password", "must_change_password"])
    account_record(action, user)


@audited
def user_end_sessions(*, user: User) -> User:
    """Sign a person out everywhere. Sessions they begin from now on count again."""
    User.objects.filter(pk=user.pk).update(sessions_version=F("sessions_version") + 1)
    user.refresh_from_db(fields=["sessions_version"])
    # None of them count any more; this also takes them off the list that the person sees.
    for session in UserSession.objects.filter(user_id=user.pk):
        session.end()
    account_record(Action.SESSION_END, user)
    access_announce(user.pk)
    return user


def first_password() -> str:
    """Return a random password of 79 bits that can be read out: four groups of four."""
    groups = ("".join(secrets.choice(FIRST_PASSWORD_LETTERS) for _ in range(4)) for _ in range(4))
    return "-".join(groups)


def first_password_in(text: str) -> str:
    """Return the first password that somebody entered, as it was made; nothing for other texts."""
    entered = text.strip().lower()
    return entered if FIRST_PASSWORD.fullmatch(entered) else ""


@audited
def membership_create(
    *, user: User, hospital: Hospital, roles: list[str], name: str = ""
) -> Membership:
    """Give a person a place in a hospital. Raises ValidationError when they have one already."""
    membership = Membership(
        user=user,
        hospital=hospital,
        name=name or user.name,
        roles=_in_order(roles),
        created_at=timezone.now(),
    )
    membership.full_clean(validate_constraints=False)
    try:
        membership.save()
    except IntegrityError as error:
        raise ValidationError(ALREADY_MEMBER) from error
    _record(Action.CREATE, membership, after={**_place(membership), "email": user.email})
    return membership


def _one_change_at_a_time(service: Callable) -> Callable:
    """Run a service in a transaction that collides with any other on the same hospital's people.

    The rule that an admin remains reads several documents; two transactions that each change
    another one of them would not notice each other. So each counts up the hospital's version
    first, and of two at once MongoDB lets one begin again and read afresh.
    """

    @wraps(service)
    def alone(*, membership: Membership, **arguments):
        def change():
            _count_up(membership.hospital_id)
            membership.refresh_from_db()
            return service(membership=membership, **arguments)

        changed = in_audited_transaction(change)
        access_announce(membership.user_id)
        return changed

    return alone


@_one_change_at_a_time
def membership_update(*, membership: Membership, name: str, roles: list[str]) -> Membership:
    """Replace a member's name and roles. Raises ValidationError when no admin would be left."""
    if Role.HOSPITAL_ADMIN not in roles:
        _require_another_admin(membership)
    before = _place(membership)
    membership.name = name
    membership.roles = _in_order(roles)
    membership.full_clean(validate_constraints=False)
    membership.save(update_fields=["name", "roles"])
    _record(Action.CHANGE, membership, before=before, after=_place(membership))
    return membership


@_one_change_at_a_time
def membership_deactivate(*, membership: Membership) -> Membership:
    """Shut a member out from their next request on. Raises ValidationError for the last admin."""
    _require_another_admin(membership)
    return _set_access(membership, False)


@_one_change_at_a_time
def membership_activate(*, membership: Membership) -> Membership:
    """Let a deactivated member in again, with the roles they had."""
    return _set_access(membership, True)


@_one_change_at_a_time
def admin_transfer(
    *, membership: Membership, giver: Membership, giver_roles: list[str]
) -> Membership:
    """Make a member an admin, and let the admin who gives that up keep `giver_roles`.

    A giver who keeps no role leaves the hospital: they are deactivated. Raises ValidationError
    when the giver is no admin any more, or the other one can't sign in here.
    """
    giver.refresh_from_db()
    _require_a_usable_pair(giver, membership)
    _change_roles(membership, [*membership.roles, Role.HOSPITAL_ADMIN])
    kept = [role for role in giver_roles if role != Role.HOSPITAL_ADMIN]
    if kept:
        _change_roles(giver, kept)
    else:
        _set_access(giver, False)
    access_announce(giver.user_id)
    return membership


def _require_a_usable_pair(giver: Membership, taker: Membership) -> None:
    if not giver.is_active or Role.HOSPITAL_ADMIN not in giver.roles or giver.pk == taker.pk:
        raise ValidationError(NOT_ADMIN)
    usable = User.objects.filter(pk=taker.user_id, is_active=True, is_operator=False).exists()
    if not taker.is_active or not usable:
        raise ValidationError(NOT_ABLE_TO_ADMIN)


def _change_roles(membership: Membership, roles: list[str]) -> None:
    before = _place(membership)
    membership.roles = _in_order(roles)
    membership.save(update_fields=["roles"])
    _record(Action.CHANGE, membership, before=before, after=_place(membership))


def _set_access(membership: Membership, is_active: bool) -> Membership:
    before = _place(membership)
    membership.is_active = is_active
    membership.save(update_fields=["is_active"])
    action = Action.ACTIVATE if is_active else Action.DEACTIVATE
    _record(action, membership, before=before, after=_place(membership))
    return membership


def _place(membership: Membership) -> dict:
    """Return what a change of a member is compared by."""
    return {
        "name": membership.name,
        "roles": list(membership.roles),
        "is_active": membership.is_active,
    }


def _record(action: Action, membership: Membership, **states: dict) -> None:
    audit_record(
        action=action,
        subject_kind=MEMBER,
        subject_id=membership.pk,
        hospital_id=membership.hospital_id,
        **states,
    )


def _in_order(roles: list[str]) -> list[str]:
    return [role for role in Role if role in roles] + [role for role in roles if role not in Role]


def _require_another_admin(membership: Membership) -> None:
    """Raise ValidationError when the hospital's only way to manage its people is this member."""
    admins = [admin.pk for admin in active_admins(membership.hospital_id)]
    if admins == [membership.pk]:
        raise ValidationError(LAST_ADMIN)


def _count_up(hospital_id: ObjectId) -> None:
    Hospital.objects.filter(pk=hospital_id).update(people_version=F("people_version") + 1)
