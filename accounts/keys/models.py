"""Where keys rest: each wrapped by the master key, which is never in the database."""

from django.db import models
from django.utils import timezone
from django_mongodb_backend.fields import EmbeddedModelArrayField
from django_mongodb_backend.models import EmbeddedModel


class KeyVersion(EmbeddedModel):
    """One data key with the hospital's index key, wrapped; empty once they are destroyed."""

    number = models.IntegerField()
    wrapped = models.BinaryField()
    created_at = models.DateTimeField()


class HospitalKey(models.Model):
    """The keys of one hospital: the last version seals, all of them unseal.

    One document, so that making, rotating and destroying are one conditional update each. It stays
    after the keys in it are destroyed: without it a new key would be made in silence.
    """

    hospital = models.OneToOneField(
        "accounts.Hospital", on_delete=models.PROTECT, related_name="+", editable=False
    )
    versions = EmbeddedModelArrayField(KeyVersion, default=list)
    # Up to which version the hospital's records have been sealed anew; behind: go on with it.
    resealed_version = models.IntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    destroyed_at = models.DateTimeField(null=True, default=None)

    def __str__(self) -> str:
        return f"key of {self.hospital_id}"


class PlatformKey(models.Model):
    """The root of what belongs to no hospital: second factors, platform hashes, the audit's key.

    Random and wrapped, rather than derived from the master key: the master key may be replaced
    and the audit must still verify.
    """

    name = models.CharField(max_length=20, primary_key=True)
    wrapped = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"{self.name} key"
