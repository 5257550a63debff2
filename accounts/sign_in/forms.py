"""Forms for signing in and for choosing a password."""

from django import forms
from django.contrib.auth.forms import PasswordChangeForm as DjangoPasswordChangeForm
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator

from accounts.pages import form_helper

MAX_PASSWORD_CHARACTERS = 256


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

    def clean_new_password1(self) -> str:
        password = self.cleaned_data["new_password1"]
        if password == self.data.get("old_password"):
            raise ValidationError("This is the password you have. Choose another one.")
        return password
