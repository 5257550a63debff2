"""Forms for a hospital's people."""

from django import forms
from django.utils.html import format_html

from accounts.models import Membership, User
from accounts.pages import LineField, form_helper
from accounts.permissions import ROLE_MEANINGS, Role


class _MemberForm(forms.Form):
    name = LineField(
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
        self.helper = form_helper(self.button)


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
