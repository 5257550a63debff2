"""Forms for searching people, inviting them, and what they answer with."""

from django import forms
from django.contrib.auth.forms import SetPasswordForm
from django.core.validators import MaxLengthValidator

from accounts.forms import MemberCreateForm
from accounts.models import Membership, User
from accounts.pages import LineField, form_helper
from accounts.people.roster import MAX_BYTES
from accounts.people.selectors import MemberFilter
from accounts.permissions import ROLE_MEANINGS, Role

MAX_PASSWORD_CHARACTERS = 256


class MemberFilterForm(forms.Form):
    """What the list of people is narrowed to. What can't be understood asks for nothing.

    The choices stand in the list's address; the words that people are searched by never do.
    """

    role = forms.ChoiceField(required=False, choices=[("", "Any role"), *Role.choices])
    state = forms.ChoiceField(
        required=False,
        label="Access",
        choices=[("", "Active or not"), ("active", "Active"), ("deactivated", "Deactivated")],
    )
    mfa = forms.ChoiceField(
        required=False,
        label="Second factor",
        choices=[("", "With or without 2nd factor"), ("with", "With"), ("without", "Without")],
    )

    def chosen(self) -> dict[str, str]:
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}

    def wanted(self, words: str) -> MemberFilter:
        chosen = self.chosen()
        return MemberFilter(
            search=words,
            role=chosen.get("role", ""),
            state=chosen.get("state", ""),
            factor=chosen.get("mfa", ""),
        )


class InvitationForm(MemberCreateForm):
    button = "Send invitation"

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].help_text = "The invitation goes there, and they sign in with it."


class InvitationAcceptForm(SetPasswordForm):
    """Ask a new person for their name and, twice, for a password."""

    name = LineField(
        max_length=Membership._meta.get_field("name").max_length,
        label="Your name",
        help_text="As colleagues know you, for instance on a list of cases.",
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    field_order = ["name", "new_password1", "new_password2"]

    def __init__(self, user: User, *args, **kwargs) -> None:
        super().__init__(user, *args, **kwargs)
        self.fields["new_password1"].label = "Password"
        self.fields["new_password2"].label = "Password, once more"
        self.fields["new_password2"].help_text = ""
        # Longer ones could be chosen, but not entered at sign-in.
        self.fields["new_password1"].validators.append(MaxLengthValidator(MAX_PASSWORD_CHARACTERS))
        self.helper = form_helper("Accept and sign in")

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        # So that the password is compared with the name that was just chosen.
        self.user.name = name
        return name


class RosterForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,.txt,text/csv,text/plain"}),
        help_text=f"At most {MAX_BYTES // 1000} kB. You see the list before anybody is invited.",
        error_messages={"empty": "The file is empty. Write one person on each line."},
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper("Show what is in it")


class AdminTransferForm(forms.Form):
    roles = forms.MultipleChoiceField(
        required=False,
        label="Your own roles afterwards",
        choices=[
            (role, f"{role.label}: {meaning}")
            for role, meaning in ROLE_MEANINGS.items()
            if role != Role.HOSPITAL_ADMIN
        ],
        widget=forms.CheckboxSelectMultiple,
        help_text="With none of them you leave this hospital, until its new admin activates you.",
    )

    confirmed = forms.BooleanField(
        label="I will be no admin any more, and can't take this back by myself",
        error_messages={"required": "Tick this to go on."},
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper("Hand over and step down")


class SecondFactorRuleForm(forms.Form):
    mfa_required = forms.BooleanField(
        required=False, label="Everybody who works here needs a second factor"
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper("Save")
