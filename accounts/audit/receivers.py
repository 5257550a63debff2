"""Signing in and out, as it is told by the parts that do it: Django, axes and allauth.

A person's events go into the chain of every hospital they work at, so that each hospital's
auditors see them; those of somebody unknown, and of operators, into the platform's.
"""

import logging
from contextlib import contextmanager

from allauth.mfa.signals import (
    authentication_failed,
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
)
from axes.signals import user_locked_out
from bson import ObjectId
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from accounts.audit.actions import Action
from accounts.audit.actors import Actor, anonymous, person
from accounts.audit.chain import PLATFORM
from accounts.audit.errors import AuditUnavailable
from accounts.audit.services import audit_record, in_audited_transaction
from accounts.keys.sealing import platform_hash
from accounts.models import User
from accounts.selectors import memberships_of, user_by_email

log = logging.getLogger(__name__)

ENDED_BY_SERVICE = "Nobody had used the page for a while, or the day's work was over"
# Stands in for somebody unknown, so that looking for their hospitals takes as long as for others.
NOBODY = User(id=ObjectId(bytes(12)))


def connect() -> None:
    """Begin to listen."""
    user_logged_in.connect(_signed_in, dispatch_uid="audit")
    user_logged_out.connect(_signed_out, dispatch_uid="audit")
    user_login_failed.connect(_sign_in_failed, dispatch_uid="audit")
    user_locked_out.connect(_locked_out, dispatch_uid="audit")
    authenticator_added.connect(_factor_added, dispatch_uid="audit")
    authenticator_removed.connect(_factor_removed, dispatch_uid="audit")
    authenticator_reset.connect(_factor_reset, dispatch_uid="audit")
    authentication_failed.connect(_factor_failed, dispatch_uid="audit")


def _signed_in(sender, request: HttpRequest | None, user: User, **_) -> None:
    # Raises AuditUnavailable before the session is stored: nobody is signed in without an event.
    _keep(Action.SIGN_IN, user, person(user, address=_address(request)))


def _signed_out(sender, request: HttpRequest | None, user: User | None, **_) -> None:
    if user is None:
        return
    reason = "" if getattr(request, "resolver_match", None) else ENDED_BY_SERVICE
    try:
        _keep(Action.SIGN_OUT, user, person(user, address=_address(request)), reason=reason)
    except AuditUnavailable:
        # The one act that is done without its event: staying signed in would be worse.
        log.exception("sign_out_not_audited user=%s", user.pk)


def _sign_in_failed(sender, credentials: dict, request: HttpRequest | None = None, **_) -> None:
    email = credentials.get("email") or credentials.get("username") or ""
    _keep_attempt(Action.SIGN_IN_FAILED, str(email), _address(request))


def _locked_out(sender, request: HttpRequest | None, username: str, ip_address: str, **_) -> None:
    _keep_attempt(Action.LOCK_OUT, username or "", ip_address or _address(request))


def _factor_failed(sender, request: HttpRequest, user: User, **_) -> None:
    _keep(Action.SIGN_IN_FAILED, user, anonymous(_address(request)), reason="A wrong second factor")


def _factor_added(sender, request: HttpRequest, user: User, authenticator, **_) -> None:
    with _undone_by(authenticator.delete):
        _keep_factor(Action.MFA_ADD, request, user, authenticator)


def _factor_removed(sender, request: HttpRequest, user: User, authenticator, **_) -> None:
    with _undone_by(lambda: authenticator.save(force_insert=True)):
        _keep_factor(Action.MFA_REMOVE, request, user, authenticator)


def _factor_reset(sender, request: HttpRequest, user: User, authenticator, **_) -> None:
    # New recovery codes; should the event fail, the person gets the codes at their next try.
    _keep_factor(Action.MFA_ADD, request, user, authenticator)


@contextmanager
def _undone_by(undo):
    """Take back what allauth has done already when its event can't be kept."""
    try:
        yield
    except AuditUnavailable:
        undo()
        raise


def _keep_factor(action: Action, request: HttpRequest, user: User, authenticator) -> None:
    actor = person(user, address=_address(request))
    _keep(action, user, actor, after={"kind": str(authenticator.type)})


def _keep_attempt(action: Action, email: str, address: str) -> None:
    """Keep a try to sign in. What was typed may be anything, a password even: only its hash is."""
    user = user_by_email(email)
    subject = str(user.pk) if user else platform_hash(email.strip().lower(), "sign-in e-mail")
    _keep(action, user or NOBODY, anonymous(address), subject=subject)


def _keep(action: Action, user: User, actor: Actor, *, subject: str = "", **told) -> None:
    chains = [membership.hospital_id for membership in memberships_of(user)] or [PLATFORM]

    def append() -> None:
        for chain in chains:
            audit_record(
                action=action,
                subject_kind="account",
                subject_id=subject or user.pk,
                hospital_id=chain,
                actor=actor,
                **told,
            )

    in_audited_transaction(append)


def _address(request: HttpRequest | None) -> str:
    return request.META.get("REMOTE_ADDR", "") if request else ""
