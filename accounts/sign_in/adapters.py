"""Where django-allauth asks how we do it. Each answer is short; the rules are in services."""

import logging

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base.constants import AuthError
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.keys.sealing import platform_seal, platform_unseal
from accounts.models import User
from accounts.services import user_set_password
from accounts.sign_in.guesses import address_of, address_remember, password_checked
from accounts.sign_in.oidc import may_use_directory, person_behind
from accounts.sign_in.services import is_recent, mail_send, user_trust_directory
from accounts.sign_in.trail import closed_refused, directory_refused
from drservice.common.rate_limits import TooOften

log = logging.getLogger(__name__)

SERVICE_NAME = "DR Service"
PROOFS = {
    "reauthenticate": "Use your password",
    "mfa_reauthenticate": "Use a code",
    "mfa_reauthenticate:webauthn": "Use a passkey",
}
SEALED_FOR = "second factor"


class AccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "incorrect_code": "This code is not right, or it was used already. Try the next one.",
        "incorrect_password": "This is not your password.",
        "rate_limited": "Too many tries. Wait five minutes and try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Let nobody make an account: people come by invitation."""
        return False

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        closed_refused(user)
        return render(request, "accounts/sign_in_refused.html", status=403)

    def reauthenticate(self, user: User, password: str) -> bool:
        """Check a password once more; wrong ones count towards the lock of sign-in."""
        try:
            found = password_checked(self.request, email=user.email, password=password)
        except TooOften as fault:
            raise ValidationError(fault.message) from fault
        return found is not None and found.pk == user.pk

    def post_login(self, request: HttpRequest, user: User, **kwargs) -> HttpResponse:
        """Remember where a person is who has proved all that is asked of them."""
        address_remember(address=address_of(request), email=user.email)
        return super().post_login(request, user, **kwargs)

    def is_reauthentication_required(self, *, app: str, **kwargs) -> bool:
        """Ask again for proof, unless the person has just signed in."""
        records = get_authentication_records(self.request, self.request.user)
        return not is_recent(records)

    def get_reauthentication_methods(self, user: User) -> list[dict]:
        """Return the ways of proving who one is, in this service's words."""
        methods = super().get_reauthentication_methods(user)
        return [{**one, "description": PROOFS[one["id"]]} for one in methods]

    def get_reset_password_from_key_url(self, key: str) -> str:
        user_pk, _, token = key.partition("-")
        arguments = {"uidb36": user_pk, "key": token}
        path = reverse("account_reset_password_from_key", kwargs=arguments)
        return self.request.build_absolute_uri(path)

    def set_password(self, user: User, password: str) -> None:
        """Set a password for whoever has opened the link in a mail, and let them sign in there.

        However often others were wrong elsewhere: so a person gets in who is somewhere new.
        """
        user_set_password(user=user, password=password)
        address_remember(address=address_of(self.request), email=user.email)

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


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Link a directory's person to the one who is invited here by that verified e-mail."""
        # Neither the directory's keys nor what else it tells of a person is kept.
        sociallogin.token = None
        sociallogin.account.extra_data = {}
        known = sociallogin.is_existing
        user = sociallogin.user if known else person_behind(sociallogin)
        if user is None or not may_use_directory(user):
            raise ImmediateHttpResponse(_not_invited(request, sociallogin, user))
        if known:
            sociallogin.account.save(update_fields=["extra_data"])
            return
        if not user.is_active:
            raise ImmediateHttpResponse(_not_invited(request, sociallogin, user))
        user_trust_directory(user=user)
        sociallogin.connect(request, user)

    def on_authentication_error(
        self, request: HttpRequest, provider, error=None, exception=None, **kwargs
    ) -> None:
        if error == AuthError.CANCELLED:
            messages.info(request, "You did not sign in: it was cancelled at the other service.")
            raise ImmediateHttpResponse(redirect("accounts:sign-in"))
        # By its kind alone: what is in an answer names people.
        log.warning("directory_refused error=%s cause=%s", error, type(exception).__name__)

    def serialize_instance(self, instance) -> dict:
        """Keep only the key of what is in the database, while a second factor is asked for."""
        return {"pk": str(instance.pk)} if instance.pk else super().serialize_instance(instance)

    def deserialize_instance(self, model, data: dict):
        if "pk" not in data:
            return super().deserialize_instance(model, data)
        found = model.objects.filter(pk=data["pk"]).first()
        if found is None:
            raise ValueError(f"There is no such {model.__name__} any more.")
        return found


def _not_invited(request: HttpRequest, login: SocialLogin, user: User | None) -> HttpResponse:
    directory_refused(next((one.email for one in login.email_addresses), ""), user)
    context = {"oidc_name": settings.OIDC_NAME}
    return render(request, "account/signup_closed.html", context, status=403)
