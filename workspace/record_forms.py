"""What staff and admins fill in about records themselves: merging, exporting, keeping, erasing."""

from django import forms

from accounts.pages import form_helper
from workspace.models import RetentionPolicy
from workspace.patients.keeping import MOST_YEARS
from workspace.schemas import ErasureReason

REASON_LENGTH = 300


class ReasonForm(forms.Form):
    """A form that asks for nothing but a reason."""

    reason = forms.CharField(max_length=REASON_LENGTH)

    def __init__(self, *args, label: str, button: str, hint: str = "", **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].label = label
        self.fields["reason"].widget.attrs.update({"autocomplete": "off", "placeholder": hint})
        self.helper = form_helper(button)


class MergeForm(forms.Form):
    """Which of two records stays, and how one knows that they are of one person."""

    keep = forms.ChoiceField(
        label="Which record stays?",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose the record that stays."},
    )
    reason = forms.CharField(
        label="How do you know that they are one person?",
        max_length=REASON_LENGTH,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "placeholder": "For instance: asked the patient"}
        ),
    )

    def __init__(self, *args, patients, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["keep"].choices = [(str(one.pk), f"Keep {one.mrn}") for one in patients]
        self.helper = form_helper("Merge the records")


class EraseAskForm(forms.Form):
    reason = forms.ChoiceField(
        label="Why should the record be erased?", choices=[("", "Choose"), *ErasureReason.choices]
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper("Ask for the erasure")


class EraseConfirmForm(forms.Form):
    reference = forms.CharField(
        label="Reference",
        max_length=12,
        help_text="Six characters, which whoever asked for the erasure tells you.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper("Erase for good")


class RetentionForm(forms.ModelForm):
    keep_years = forms.IntegerField(
        label="Years to keep a record after the last visit",
        min_value=1,
        max_value=MOST_YEARS,
        required=False,
        help_text="Leave empty to keep records for ever.",
    )

    class Meta:
        model = RetentionPolicy
        fields = ["keep_years", "erase_when_due"]
        labels = {"erase_when_due": "Erase records by themselves once their time is over"}
        help_texts = {
            "erase_when_due": (
                "Without this, what is due is only listed, and staff ask for each erasure."
            )
        }

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.helper = form_helper("Save")
