"""People with second factors, and the codes of their apps and of their mail."""

import re
import time

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.core import mail
from django.test import Client

from accounts.models import User
from accounts.tests.factories import PASSWORD, make_user

SIGN_IN, CODE = "/accounts/sign-in/", "/accounts/sign-in/code/"
FIRST, FIRST_MAIL = "/accounts/security/first/", "/accounts/security/first/mail/"
STEP_S = 30


def code_of(secret: str, steps: int = 0) -> str:
    """Return what an app shows now, or so many steps of 30 s later."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // STEP_S + steps))


def make_user_with_app(**fields) -> tuple[User, str]:
    """Make somebody with an authenticator app and recovery codes. Returns the app's secret too."""
    user = make_user(**fields)
    return user, add_app(user)


def add_app(user: User) -> str:
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    RecoveryCodes.activate(user)
    return secret


def recovery_codes_of(user: User) -> list[str]:
    return RecoveryCodes.activate(user).get_unused_codes()


def enter_password(client: Client, user: User, password: str = PASSWORD):
    return client.post(SIGN_IN, {"email": user.email, "password": password})


def enter_code(client: Client, code: str):
    return client.post(CODE, {"code": code})


def signed_in_freshly(user: User, secret: str = "") -> Client:
    """Return a client that has just signed in by hand."""
    client = Client()
    enter_password(client, user)
    if secret:
        enter_code(client, code_of(secret))
    assert is_signed_in(client)
    return client


def mailed_code(client: Client) -> str:
    """Have a code mailed to whoever is signed in, and return it."""
    sent = len(mail.outbox)
    assert client.post(FIRST_MAIL).status_code == 302
    assert len(mail.outbox) == sent + 1
    return code_in(mail.outbox[-1].body)


def code_in(text: str) -> str:
    [found] = re.findall(r"^[A-Z]{4}-[A-Z]{4}$", text, re.MULTILINE)
    return found


def prove_mail(client: Client) -> None:
    """Enter the code that was mailed, and throw the mail away."""
    assert client.post(FIRST, {"code": mailed_code(client)}).status_code == 302
    mail.outbox.pop()


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session
