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
from django.db import connection
from django.http import HttpRequest

from accounts.audit.accounts import account_record
from accounts.audit.actions import Action
from accounts.audit.actors import anonymous, person
from accounts.audit.errors import AuditUnavailable
from accounts.keys.sealing import platform_hash
from accounts.models import User
from accounts.selectors import user_by_email

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
    account_record(Action.SIGN_IN, user, actor=person(user, address=_address(request)))


def _signed_out(sender, request: HttpRequest | None, user: User | None, **_) -> None:
    if user is None:
        return
    reason = "" if getattr(request, "resolver_match", None) else ENDED_BY_SERVICE
    try:
        actor = person(user, address=_address(request))
        account_record(Action.SIGN_OUT, user, actor=actor, reason=reason)
    except AuditUnavailable:
        # The one act that is done without its event: staying signed in would be worse.
        log.exception("sign_out_not_audited user=%s", user.pk)


def _sign_in_failed(sender, credentials: dict, request: HttpRequest | None = None, **_) -> None:
    email = credentials.get("email") or credentials.get("username") or ""
    _keep_attempt(Action.SIGN_IN_FAILED, str(email), _address(request))


def _locked_out(sender, request: HttpRequest | None, username: str, ip_address: str, **_) -> None:
    # axes counts by network and says that one; the trail keeps the address.
    _keep_attempt(Action.LOCK_OUT, username or "", _address(request) or ip_address)


def _factor_failed(sender, request: HttpRequest, user: User, **_) -> None:
    actor = anonymous(_address(request))
    account_record(Action.SIGN_IN_FAILED, user, actor=actor, reason="A wrong second factor")


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
    """Take back what allauth has done already when its event can't be kept.

    Inside a transaction there is nothing to take back: it rolls back.
    """
    try:
        yield
    except AuditUnavailable:
        if not connection.in_atomic_block_mongo:
            undo()
        raise


def _keep_factor(action: Action, request: HttpRequest, user: User, authenticator) -> None:
    actor = person(user, address=_address(request))
    account_record(action, user, actor=actor, after={"kind": str(authenticator.type)})


def _keep_attempt(action: Action, email: str, address: str) -> None:
    """Keep a try to sign in. What was typed may be anything, a password even: only its hash is."""
    user = user_by_email(email)
    subject = str(user.pk) if user else platform_hash(email.strip().lower(), "sign-in e-mail")
    account_record(action, user or NOBODY, subject_id=subject, actor=anonymous(address))


def _address(request: HttpRequest | None) -> str:
    return request.META.get("REMOTE_ADDR", "") if request else ""
