"""Model fields whose values rest sealed in the database and are text in Python.

A field seals as it is saved, with the key of the record's own hospital (an embedded record has none
and takes the hospital of the open scope). It unseals when somebody looks at it, and not before: a
worker that reads a case never opens the name in it. A value that nobody looked at is written back
as it was.

In the database a sealed value is binary data and an empty text stays an empty text, so plain text
that should have been sealed can be found by its type. No sealed value can be searched for: two of
the same name are not equal. Search by a keyed hash beside it.
"""

import logging
from typing import Any

from bson import ObjectId
from django.core.exceptions import FieldError
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from accounts.keys.errors import KeyDestroyed, SealBroken
from accounts.keys.sealing import UNREADABLE, seal_bytes, unseal_bytes
from accounts.scoping import current_scope

log = logging.getLogger(__name__)


class SealedAttribute(DeferredAttribute):
    """Unseals a value the first time it is looked at."""

    def __get__(self, instance, cls=None) -> Any:
        value = super().__get__(instance, cls)
        if not isinstance(value, bytes):
            return value
        text = instance.__dict__[self.field.attname] = self.field.unsealed(value)
        return text

    # With a setter, the attribute is asked for even when the instance holds a value.
    def __set__(self, instance, value) -> None:
        instance.__dict__[self.field.attname] = value


class SealedField(models.Field):
    """What the sealed fields share; mixed in before a field of text."""

    descriptor_class = SealedAttribute

    def db_type(self, connection) -> str:
        return "binData"

    @property
    def purpose(self) -> str:
        """What a value is bound to: it does not open in any other field."""
        return f"{self.model._meta.label_lower}.{self.name}"

    def sealed(self, text: str, hospital_id: ObjectId) -> bytes | str:
        """Return the stored form of a text. Raises KeyDestroyed, UnreadableRefused."""
        if text == "":
            return ""
        return seal_bytes(text.encode(), hospital_id=hospital_id, purpose=self.purpose)

    def unsealed(self, stored: bytes) -> str:
        """Return the text, or UNREADABLE when its key was destroyed or it is damaged."""
        try:
            return unseal_bytes(stored, purpose=self.purpose).decode()
        except KeyDestroyed:
            return UNREADABLE
        except SealBroken:
            # One damaged record must not take the whole list with it.
            log.error("seal_broken field=%s", self.purpose)
            return UNREADABLE

    def pre_save(self, instance: models.Model, add: bool) -> Any:
        value = instance.__dict__.get(self.attname, "")
        hospital_id = getattr(instance, "hospital_id", None)
        if isinstance(value, str) and hospital_id is not None:
            return self.sealed(value, hospital_id)
        return value

    def get_db_prep_save(self, value: Any, connection) -> Any:
        if isinstance(value, str) and value:
            return self.sealed(value, self._open_hospital())
        return value

    def _open_hospital(self) -> ObjectId:
        hospital_id = current_scope(self.purpose).hospital_id
        if hospital_id is None:
            raise FieldError(f"Open one hospital's scope to seal {self.purpose}: each has its key.")
        return hospital_id

    def to_python(self, value: Any) -> Any:
        # Bytes come from the database alone: no form gives any.
        return value if isinstance(value, bytes) else super().to_python(value)

    def get_lookup(self, name: str):
        if name == "isnull":
            return super().get_lookup(name)
        raise FieldError(f"{self.purpose} is sealed and can't be searched: use a keyed hash.")


class SealedCharField(SealedField, models.CharField):
    """A sealed line of text; `max_length` is that of the text."""


class SealedTextField(SealedField, models.TextField):
    """A sealed text of several lines."""


class SealedEmailField(SealedField, models.EmailField):
    """A sealed e-mail address."""
