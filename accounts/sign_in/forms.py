"""Forms for signing in and for what protects an account."""

from collections.abc import Iterator
from contextlib import contextmanager

from allauth.account.forms import ReauthenticateForm, ResetPasswordForm, ResetPasswordKeyForm
from allauth.core import context
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.core.internal.ratelimit import cache_lock
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.base.forms import ReauthenticateForm as CodeAgainForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    EditWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django import forms
from django.contrib.auth.forms import PasswordChangeForm as DjangoPasswordChangeForm
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from accounts.models import User
from accounts.pages import form_helper
from accounts.sign_in.adapters import AccountAdapter
from accounts.sign_in.guesses import OLD_PASSWORDS, code_checked
from accounts.sign_in.trail import old_password_refused, passkey_refused, reset_asked
from drservice.common.rate_limits import TooOften

MAX_PASSWORD_CHARACTERS = 256
MAX_CODE_CHARACTERS = 32
MAX_PASSKEY_NAME = 60
# Longer than any code of an app is taken: 30 s, and one step to either side.
CODE_USED_S = 120

CODE_FIELD = {
    "autocomplete": "one-time-code",
    "inputmode": "numeric",
    "autofocus": True,
    "maxlength": MAX_CODE_CHARACTERS,
}


class SignInForm(forms.Form):
    email = forms.EmailField(
        label="E-mail",
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        max_length=MAX_PASSWORD_CHARACTERS,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper("Sign in")
        self.helper.form_tag = False
        self.helper.disable_csrf = True

    def clean_email(self) -> str:
        # Failures are counted by this text: another spelling of it must not start a new count.
        return self.cleaned_data["email"].strip().lower()


class PasswordChangeForm(DjangoPasswordChangeForm):
    """Ask for the password in use and, twice, for a new one that differs."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old_password"].label = "Password you signed in with"
        self.fields["new_password2"].label = "New password, once more"
        self.fields["new_password2"].help_text = ""
        # Longer ones could be chosen, but not entered at sign-in.
        self.fields["new_password1"].validators.append(MaxLengthValidator(MAX_PASSWORD_CHARACTERS))
        self.helper = form_helper("Change password")

    def clean_old_password(self) -> str:
        # Whoever sits at somebody's open screen must not try out what it may be.
        try:
            OLD_PASSWORDS.take(self.user.pk)
        except TooOften as fault:
            raise ValidationError(fault.message) from fault
        try:
            return super().clean_old_password()
        except ValidationError:
            old_password_refused(self.user)
            raise

    def clean_new_password1(self) -> str:
        password = self.cleaned_data["new_password1"]
        if password == self.data.get("old_password"):
            raise ValidationError("This is the password you have. Choose another one.")
        return password


class _Code(forms.Form):
    """A code from an app or from the list of recovery codes, which lets in once only.

    allauth checks it. Here one person's codes are checked one after the other, so that two requests
    at the same instant can't both use one; a code that was used stays used for as long as it would
    be right; and wrong ones are counted.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["code"]
        field.widget.attrs = dict(CODE_FIELD)
        field.validators.append(MaxLengthValidator(MAX_CODE_CHARACTERS))
        field.help_text = "Six digits from your app, or one of your recovery codes."

    def clean_code(self) -> str:
        with _one_code_at_a_time(self.user), _counted(self.user):
            code = super().clean_code()
            if not cache.add(_used_key(self.user, code), 1, timeout=CODE_USED_S):
                raise ValidationError(AccountAdapter.error_messages["incorrect_code"])
            return code


class SecondFactorForm(_Code, AuthenticateForm):
    pass


class SecondFactorAgainForm(_Code, CodeAgainForm):
    pass


class AppAddForm(ActivateTOTPForm):
    """Take the first code of an app that has just learned its secret."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["code"]
        field.label = "Code"
        field.help_text = "The six digits that the app shows now."
        field.widget.attrs = {**CODE_FIELD, "autofocus": False}

    def clean_code(self) -> str:
        code = super().clean_code()
        cache.set(_used_key(self.user, code), 1, timeout=CODE_USED_S)
        return code


class MailedCodeForm(forms.Form):
    """Take the code that proves that somebody reads their mail."""

    code = forms.CharField(
        max_length=MAX_CODE_CHARACTERS,
        help_text="Eight letters; the dash between them may be left out.",
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "autocapitalize": "characters",
                "spellcheck": "false",
            }
        ),
    )


@contextmanager
def _refusing_what_is_no_passkey() -> Iterator[None]:
    """Take what is no answer of a passkey at all for a wrong one."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValidationError("This was no passkey's answer. Try again.") from error


class _Passkey(forms.Form):
    """A passkey's answer. allauth checks it, and counts wrong ones where it knows whose it is."""

    def clean_credential(self) -> Authenticator:
        try:
            with _refusing_what_is_no_passkey():
                return super().clean_credential()
        except ValidationError:
            passkey_refused(self.user)
            raise


class PasskeyForm(_Passkey, AuthenticateWebAuthnForm):
    pass


class PasskeyAloneForm(_Passkey, LoginWebAuthnForm):
    pass


class PasskeyAgainForm(_Passkey, ReauthenticateWebAuthnForm):
    pass


class PasskeyAddForm(AddWebAuthnForm):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        name = self.fields["name"]
        name.validators.append(MaxLengthValidator(MAX_PASSKEY_NAME))
        name.widget.attrs = {"maxlength": MAX_PASSKEY_NAME, "autocomplete": "off"}
        name.help_text = "By which you know it again, for instance the device that it is on."
        alone = self.fields["passwordless"]
        alone.label = "Sign in with it alone, without the password"
        alone.initial = True
        alone.help_text = "The device then checks that it is you: a finger, a face or a PIN."

    def clean(self) -> dict:
        with _refusing_what_is_no_passkey():
            return super().clean()


class PasskeyRenameForm(EditWebAuthnForm):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        name = self.fields["name"]
        name.validators.append(MaxLengthValidator(MAX_PASSKEY_NAME))
        name.widget.attrs = {"maxlength": MAX_PASSKEY_NAME, "autocomplete": "off"}


class PasswordAgainForm(ReauthenticateForm):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["password"]
        field.validators.append(MaxLengthValidator(MAX_PASSWORD_CHARACTERS))
        field.help_text = ""
        field.widget.attrs = {"autocomplete": "current-password", "autofocus": True}


class PasswordResetAskForm(ResetPasswordForm):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["email"]
        field.label = "E-mail"
        field.widget.attrs = {"autocomplete": "username", "autofocus": True}

    def save(self, request: HttpRequest, **kwargs) -> str:
        # First: no link goes out that nothing is kept of.
        reset_asked(self.cleaned_data["email"])
        return super().save(request, **kwargs)


class PasswordResetForm(ResetPasswordKeyForm):
    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"].label = "New password"
        self.fields["password2"].label = "New password, once more"
        for field in self.fields.values():
            field.validators.append(MaxLengthValidator(MAX_PASSWORD_CHARACTERS))
            field.widget.attrs = {"autocomplete": "new-password"}


@contextmanager
def _one_code_at_a_time(user: User) -> Iterator[None]:
    with cache_lock(f"second-factor:{user.pk}") as locked:
        if not locked:
            raise ValidationError(AccountAdapter.error_messages["rate_limited"])
        yield


@contextmanager
def _counted(user: User) -> Iterator[None]:
    try:
        with code_checked(context.request, user):
            yield
    except TooOften as fault:
        raise ValidationError(fault.message) from fault


def _used_key(user: User, code: str) -> str:
    mark = salted_hmac("accounts.sign_in.code", normalize_user_code(code)).hexdigest()
    return f"second-factor-used:{user.pk}:{mark}"
