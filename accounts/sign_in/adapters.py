"""Where django-allauth asks how we do it. Each answer is short; the rules are in services."""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.keys.sealing import platform_seal, platform_unseal
from accounts.models import User
from accounts.services import user_set_password
from accounts.sign_in.services import is_recent, mail_send

SERVICE_NAME = "DR Service"
SEALED_FOR = "second factor"


class AccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "incorrect_code": "This code is not right, or it was used already. Try the next one.",
        "incorrect_password": "This is not your password.",
        "too_many_login_attempts": "Too many wrong codes. Wait five minutes and try again.",
        "rate_limited": "Too many tries. Wait five minutes and try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Let nobody make an account: people come by invitation."""
        return False

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        return render(request, "accounts/sign_in_refused.html", status=403)

    def reauthenticate(self, user: User, password: str) -> bool:
        """Check a password once more; wrong ones count towards the lock of sign-in."""
        found = authenticate(self.request, email=user.email, password=password)
        return found is not None and found.pk == user.pk

    def is_reauthentication_required(self, *, app: str, **kwargs) -> bool:
        """Ask again for proof, unless the person has just signed in."""
        records = get_authentication_records(self.request, self.request.user)
        return not is_recent(records)

    def get_reset_password_from_key_url(self, key: str) -> str:
        user_pk, _, token = key.partition("-")
        arguments = {"uidb36": user_pk, "key": token}
        path = reverse("account_reset_password_from_key", kwargs=arguments)
        return self.request.build_absolute_uri(path)

    def set_password(self, user: User, password: str) -> None:
        user_set_password(user=user, password=password)

    def send_mail(self, template_prefix: str, email: str, context: dict) -> None:
        context = {"request": self.request, "email": email, "service": SERVICE_NAME, **context}
        mail_send(self.render_mail(template_prefix, email, context))


class MFAAdapter(DefaultMFAAdapter):
    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": AccountAdapter.error_messages["incorrect_code"],
    }

    def encrypt(self, text: str) -> str:
        return platform_seal(text, purpose=SEALED_FOR)

    def decrypt(self, encrypted_text: str) -> str:
        return platform_unseal(encrypted_text, purpose=SEALED_FOR)

    def generate_authenticator_name(self, user: User, type: str) -> str:
        count = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return f"Passkey {count + 1}" if count else "Passkey"

    def _get_site_name(self) -> str:
        return settings.MFA_TOTP_ISSUER
