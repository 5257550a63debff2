"""What staff fill in about patients, visits and photographs."""

import datetime as dt

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Column, Fieldset, Layout, Row
from django import forms
from django.utils import timezone

from workspace.models import Case, Patient
from workspace.patients.consenting import CONSENTS
from workspace.schemas import Field, Laterality
from workspace.trail import PATIENT_FACTS

OLDEST_AGE_YEARS = 120
CONSENTS_CHANGED = (
    "What this record says of consent changed while the page was open. Look at it on the patient's "
    "page, then save again if what stands here is right."
)


class PatientForm(forms.ModelForm):
    class Meta:
        model = Patient
        # Whatever can be changed here stands on the audit trail.
        fields = PATIENT_FACTS
        widgets = {
            "birth_date": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
            "phone": forms.TextInput(attrs={"type": "tel"}),
        }

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        # Before a form that was sent writes into the record.
        self.consents_now = "".join(str(int(getattr(self.instance, name))) for name in CONSENTS)
        for name in self.fields:
            self.fields[name].widget.attrs["autocomplete"] = "off"
        self.helper = FormHelper()
        self.helper.form_tag = False
        self.helper.disable_csrf = True
        self.helper.layout = Layout(
            Fieldset(
                "Who",
                Row(Column("mrn", css_class="col-md-5"), Column("name", css_class="col-md-7")),
                Row(
                    Column("birth_date", css_class="col-md-5"),
                    Column("sex", css_class="col-md-7"),
                ),
            ),
            Fieldset(
                "Diabetes",
                Row(
                    Column("diabetes_type", css_class="col-md-5"),
                    Column("diabetes_since_year", css_class="col-md-7"),
                ),
            ),
            Fieldset(
                "Contact and consent",
                Row(Column("phone", css_class="col-md-5"), Column("email", css_class="col-md-7")),
                "consent_messages",
                "consent_training",
            ),
        )

    def clean_birth_date(self) -> dt.date:
        born = self.cleaned_data["birth_date"]
        today = timezone.localdate()
        if born > today:
            raise forms.ValidationError("This day is still to come.")
        if born.year < today.year - OLDEST_AGE_YEARS:
            raise forms.ValidationError(f"This is more than {OLDEST_AGE_YEARS} years ago.")
        return born

    def clean(self) -> dict:
        """Refuse consents that were filled in on a page older than what the record says now.

        A merge may have ended one meanwhile; a box that was ticked before must not bring it back.
        """
        cleaned = super().clean()
        seen = self.data.get("consents_seen", self.consents_now)
        if seen != self.consents_now:
            self.add_error(None, CONSENTS_CHANGED)
        since, born = cleaned.get("diabetes_since_year"), cleaned.get("birth_date")
        if since and since > timezone.localdate().year:
            self.add_error("diabetes_since_year", "This year is still to come.")
        elif since and born and since < born.year:
            self.add_error("diabetes_since_year", "This is before the patient was born.")
        return cleaned


class CaseDetailsForm(forms.ModelForm):
    class Meta:
        model = Case
        fields = [
            "camera",
            "dilated",
            "acuity_right",
            "acuity_left",
            "absent_eye",
            "absent_eye_reason",
            "notes",
        ]
        widgets = {"notes": forms.Textarea(attrs={"rows": 3})}
        labels = {"absent_eye": "Missing eye", "absent_eye_reason": "Why is it missing?"}
        help_texts = {
            "acuity_right": "For instance 6/9 or 20/30.",
            # A missing eye leaves the outcome to the other one, which no diseased eye may do.
            "absent_eye": (
                "Only an eye that is not there. Photograph a clouded or restless eye as well as "
                "you can: if it can't be graded, the patient is referred."
            ),
        }

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["absent_eye"].choices = [("", "None: both eyes"), *Laterality.choices]
        self.fields["camera"].widget.attrs["placeholder"] = "Make and model"
        self.helper = FormHelper()
        self.helper.form_tag = False
        self.helper.disable_csrf = True
        self.helper.layout = Layout(
            "camera",
            "dilated",
            Row(
                Column("acuity_right", css_class="col-6"),
                Column("acuity_left", css_class="col-6"),
            ),
            "absent_eye",
            "absent_eye_reason",
            "notes",
        )

    def clean(self) -> dict:
        cleaned = super().clean()
        absent, reason = cleaned.get("absent_eye"), cleaned.get("absent_eye_reason")
        if absent and not reason:
            self.add_error("absent_eye_reason", "Say why, for instance: artificial eye.")
        if reason and not absent:
            self.add_error("absent_eye", "Say which eye the reason is about.")
        if absent and self.instance.images_of(absent):
            self.add_error(
                "absent_eye", "There is a photograph of this eye. Remove it, or choose none."
            )
        return cleaned


class ImageLabelForm(forms.Form):
    laterality = forms.ChoiceField(
        choices=[("", "Which eye?"), *Laterality.choices], required=False
    )
    field = forms.ChoiceField(choices=Field.choices, required=False)


class RetakesEndForm(forms.Form):
    reason = forms.CharField(max_length=200, label="Why can't the photographs be taken again?")


class CaseVoidForm(forms.Form):
    reason = forms.CharField(max_length=200, label="What is wrong with this visit?")


class CaseReinstateForm(forms.Form):
    reason = forms.CharField(max_length=200, label="How do you know that it was right after all?")


class CaseCancelForm(forms.Form):
    reason = forms.CharField(max_length=200, label="Why is this visit cancelled?")
