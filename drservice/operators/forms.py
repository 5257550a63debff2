"""What operators fill in. Whatever changes something asks for the reason."""

from decimal import Decimal

from django import forms

from accounts.limits.selectors import Usage
from accounts.models import Hospital, User
from accounts.pages import LineField, form_helper

MAX_REASON_CHARACTERS = 300
GIGABYTE = 1_000_000_000
MOST_PHOTOGRAPHS = 10_000_000
MOST_GIGABYTES = 1_000_000
MAX_EMAIL_CHARACTERS = User._meta.get_field("email").max_length


class ReasonForm(forms.Form):
    """Confirm an act by saying why."""

    reason = LineField(
        max_length=MAX_REASON_CHARACTERS,
        label="Reason",
        help_text="Kept with what you did. Name no patient.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Say why."},
    )

    def __init__(self, *args, button: str = "Save", **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper(button)


class HospitalRenameForm(ReasonForm):
    name = LineField(max_length=Hospital._meta.get_field("name").max_length)
    field_order = ["name", "reason"]


class HospitalRulesForm(ReasonForm):
    mfa_required = forms.BooleanField(
        required=False,
        label="Everybody who works here needs a second factor",
        help_text="Who has none is led to add one before anything else.",
    )
    field_order = ["mfa_required", "reason"]


class HospitalLimitsForm(ReasonForm):
    photographs_a_day = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MOST_PHOTOGRAPHS,
        label="Photographs a day",
        help_text="Empty: the service's default. 0: none.",
    )
    gigabytes_in_all = forms.DecimalField(
        required=False,
        min_value=0,
        max_value=MOST_GIGABYTES,
        decimal_places=1,
        label="Gigabytes of photographs in all",
        help_text="Empty: the service's default. What is stored already stays.",
    )
    field_order = ["photographs_a_day", "gigabytes_in_all", "reason"]

    @classmethod
    def for_usage(cls, usage: list[Usage], posted=None, **kwargs) -> "HospitalLimitsForm":
        """Fill in the limits that are a hospital's own."""
        own = {one.limit: one.most for one in usage if not one.is_default}
        room = own.get("bytes_in_all")
        initial = {
            "photographs_a_day": own.get("photographs_a_day"),
            "gigabytes_in_all": None if room is None else Decimal(room) / GIGABYTE,
        }
        return cls(posted, initial=initial, **kwargs)

    def limits(self) -> dict[str, int | None]:
        """Return the limits as the service takes them, once the form is valid."""
        room = self.cleaned_data["gigabytes_in_all"]
        return {
            "photographs_a_day": self.cleaned_data["photographs_a_day"],
            "bytes_in_all": None if room is None else int(room * GIGABYTE),
        }


class ChampionForm(ReasonForm):
    """Confirm a move of the champion, as it was seen to stand."""

    seen_revision = forms.IntegerField(min_value=0, widget=forms.HiddenInput)


class HospitalCreateForm(forms.Form):
    name = LineField(
        max_length=Hospital._meta.get_field("name").max_length,
        label="Name of the hospital",
        help_text="As its people will see it on every page.",
    )
    admin_name = LineField(
        max_length=User._meta.get_field("name").max_length,
        label="Name of its first admin",
        help_text="They add everybody else.",
    )
    admin_email = forms.EmailField(
        max_length=MAX_EMAIL_CHARACTERS,
        label="E-mail of its first admin",
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper("Add hospital and invite")

    def clean_admin_email(self) -> str:
        return self.cleaned_data["admin_email"].strip().lower()


class AdminInviteForm(forms.Form):
    name = LineField(max_length=User._meta.get_field("name").max_length)
    email = forms.EmailField(
        max_length=MAX_EMAIL_CHARACTERS,
        label="E-mail",
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        help_text="Who is invited already gets a new link; the one before no longer works.",
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper("Invite")

    def clean_email(self) -> str:
        return self.cleaned_data["email"].strip().lower()


class OperatorCreateForm(forms.Form):
    name = LineField(max_length=User._meta.get_field("name").max_length)
    email = forms.EmailField(
        max_length=MAX_EMAIL_CHARACTERS,
        label="E-mail",
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        help_text="One that they use for nothing else here: an operator belongs to no hospital.",
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper("Add operator")

    def clean_email(self) -> str:
        return self.cleaned_data["email"].strip().lower()
