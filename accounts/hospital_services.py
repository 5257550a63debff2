"""What platform operators change about a hospital."""

import logging

from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.models import Hospital

log = logging.getLogger(__name__)

NAME_TAKEN = "Another hospital has this name."


def hospital_rename(*, hospital: Hospital, name: str, reason: str) -> Hospital:
    """Give a hospital another name. Raises ValidationError when it is taken or empty."""
    hospital.name = " ".join(name.split())
    hospital.full_clean()
    try:
        hospital.save(update_fields=["name"])
    except IntegrityError as error:
        raise ValidationError({"name": NAME_TAKEN}) from error
    log.info("hospital_renamed hospital=%s", hospital.pk)
    return hospital


def hospital_close(*, hospital: Hospital, reason: str) -> Hospital:
    """Shut a hospital's members out from their next click on; its records stay as they are."""
    return _set_active(hospital, False, reason)


def hospital_open(*, hospital: Hospital, reason: str) -> Hospital:
    """Let the members of a closed hospital in again."""
    return _set_active(hospital, True, reason)


def _set_active(hospital: Hospital, is_active: bool, reason: str) -> Hospital:
    hospital.is_active = is_active
    hospital.save(update_fields=["is_active"])
    log.info("hospital_%s hospital=%s", "opened" if is_active else "closed", hospital.pk)
    return hospital
