"""Forms for signing in and for a hospital's people."""

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Submit
from django import forms
from django.contrib.auth.forms import PasswordChangeForm as DjangoPasswordChangeForm
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.utils.html import format_html

from accounts.models import Membership, User
from accounts.permissions import ROLE_MEANINGS, Role

MAX_PASSWORD_CHARACTERS = 256


def _helper(button: str) -> FormHelper:
    helper = FormHelper()
    helper.attrs = {"novalidate": True}
    helper.add_input(Submit("", button, css_class="btn btn-primary"))
    return helper


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
        self.helper = _helper("Sign in")
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
        self.helper = _helper("Change password")

    def clean_new_password1(self) -> str:
        password = self.cleaned_data["new_password1"]
        if password == self.data.get("old_password"):
            raise ValidationError("This is the password you have. Choose another one.")
        return password


class _MemberForm(forms.Form):
    name = forms.CharField(
        max_length=Membership._meta.get_field("name").max_length,
        help_text="As colleagues know them, for instance on a list of cases.",
    )
    roles = forms.MultipleChoiceField(
        choices=[
            (role, format_html("<strong>{}</strong>: {}", role.label, meaning))
            for role, meaning in ROLE_MEANINGS.items()
        ],
        widget=forms.CheckboxSelectMultiple,
        help_text="A person may have several roles.",
        error_messages={"required": "Choose at least one role."},
    )

    button = "Save"

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = _helper(self.button)

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())


class MemberCreateForm(_MemberForm):
    email = forms.EmailField(
        label="E-mail",
        max_length=User._meta.get_field("email").max_length,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        help_text="They sign in with it.",
    )
    field_order = ["name", "email", "roles"]
    button = "Add person"

    def clean_email(self) -> str:
        return self.cleaned_data["email"].strip().lower()


class MemberUpdateForm(_MemberForm):
    @classmethod
    def for_membership(cls, membership: Membership, posted=None) -> "MemberUpdateForm":
        initial = {"name": membership.name, "roles": [Role(role) for role in membership.roles]}
        return cls(posted, initial=initial)
