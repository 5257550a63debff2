"""Hospitals, people, and which person works where in which roles."""

from bson import ObjectId
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django_mongodb_backend.fields import ArrayField, ObjectIdField

from accounts.permissions import Capability, Role, capabilities_of


class UserManager(BaseUserManager):
    def create_user(self, email: str, password: str | None = None, **fields) -> "User":
        """Make a person who can sign in; without a password, only after setting one."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.full_clean()
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields) -> "User":
        """Make a platform operator: runs the service, belongs to no hospital, sees no patient."""
        return self.create_user(email, password, is_operator=True, **fields)

    def get_by_natural_key(self, username: str) -> "User":
        return self.get(email=str(username).strip().lower())


class User(AbstractBaseUser):
    # Spelled out, rather than left to the default: third-party code then never tries int(pk).
    id = ObjectIdField(primary_key=True, default=ObjectId, db_column="_id", editable=False)
    email = models.EmailField(
        "e-mail", unique=True, error_messages={"unique": "Somebody has this e-mail already."}
    )
    name = models.CharField(max_length=120)
    is_active = models.BooleanField(default=True)
    is_operator = models.BooleanField("platform operator", default=False)
    # Set while the password is one that somebody else has seen: a first or a reset one.
    must_change_password = models.BooleanField(default=False)
    joined_at = models.DateTimeField(default=timezone.now, editable=False)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["name"]

    objects = UserManager()

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        self.email = self.email.strip().lower()


class Hospital(models.Model):
    name = models.CharField(max_length=120, unique=True)
    is_active = models.BooleanField(default=True)
    # Counted up by every change of roles or access, so that two such changes at once collide.
    people_version = models.IntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.name


class MembershipQuerySet(models.QuerySet):
    def active(self):
        return self.filter(is_active=True)


class Membership(models.Model):
    """One person's place in one hospital, with one or more roles."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    hospital = models.ForeignKey(Hospital, on_delete=models.PROTECT, related_name="memberships")
    # What this hospital calls the person; their account, and other hospitals, may say otherwise.
    name = models.CharField(max_length=120)
    roles = ArrayField(models.CharField(max_length=20, choices=Role.choices))
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hospital", "user"],
                name="membership_once_per_hospital",
                violation_error_message="This person already belongs to the hospital.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.user_id} at {self.hospital_id}"

    def clean(self) -> None:
        super().clean()
        if not self.roles:
            raise ValidationError({"roles": "Choose at least one role."})

    @property
    def role_labels(self) -> list[str]:
        return [role.label for role in Role if role in self.roles]

    @property
    def capabilities(self) -> frozenset[Capability]:
        return capabilities_of(self.roles)

    def can(self, capability: Capability) -> bool:
        return capability in self.capabilities
