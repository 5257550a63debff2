"""Hospitals, people, and which person works where in which roles."""

import datetime as dt

from bson import ObjectId
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django_mongodb_backend.fields import ArrayField, ObjectIdField

from accounts.keys.fields import SealedCharField, SealedEmailField
from accounts.keys.sealing import keyed_hash
from accounts.permissions import Capability, Role, capabilities_of, labels_of


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
    # Part of what every session is checked against: counting it up ends them all.
    sessions_version = models.IntegerField(default=0, editable=False)
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

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Return what a session must hold to count: it ends with the password, or all at once."""
        held = f"{self.sessions_version}:{self.password}"
        return salted_hmac("accounts.sessions", held, secret=secret, algorithm="sha256").hexdigest()


class Hospital(models.Model):
    name = models.CharField(max_length=120, unique=True)
    is_active = models.BooleanField(default=True)
    # Everybody who works here needs a second factor to enter.
    mfa_required = models.BooleanField(default=False)
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
    # Written every few minutes at most, and only for clicks in this hospital.
    last_seen_at = models.DateTimeField(null=True, editable=False)
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
        return labels_of(self.roles)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return capabilities_of(self.roles)

    def can(self, capability: Capability) -> bool:
        return capability in self.capabilities


class InvitationState(models.TextChoices):
    PENDING = "pending", "Pending"
    ACCEPTED = "accepted", "Accepted"
    WITHDRAWN = "withdrawn", "Withdrawn"


class InvitationQuerySet(models.QuerySet):
    def pending(self):
        return self.filter(state=InvitationState.PENDING)

    def over_before(self, moment: dt.datetime):
        """Narrow to those that were accepted, withdrawn or expired before a moment."""
        answered = models.Q(ended_at__lt=moment) & ~models.Q(state=InvitationState.PENDING)
        return self.filter(
            answered | models.Q(state=InvitationState.PENDING, expires_at__lt=moment)
        )

    def mail_due(self, now: dt.datetime):
        """Narrow to those whose link is to be mailed now, and would still be good; oldest first."""
        due = self.pending().filter(mail_due_at__lte=now, expires_at__gt=now)
        return due.order_by("mail_due_at")

    def claim_mail(self, *, seen: "Invitation", token_hash: str, until: dt.datetime) -> bool:
        """Take a due mail for one worker, with the token that it mails; tell whether this call did.

        Until then nobody else takes it; a worker that is lost leaves it due again.
        """
        unclaimed = self.pending().filter(pk=seen.pk, mail_due_at=seen.mail_due_at)
        taken = {"mail_due_at": until, "mail_tries": models.F("mail_tries") + 1}
        return unclaimed.update(token_hash=token_hash, **taken) == 1

    def end_mail(self, *, pk: ObjectId, token_hash: str, **mailed: dt.datetime) -> bool:
        """Leave a claimed mail at that, mailed or given up; tell whether the claim still held."""
        claimed = self.pending().filter(pk=pk, token_hash=token_hash)
        return claimed.update(mail_due_at=None, **mailed) == 1

    def accept(self, *, pk: ObjectId, token_hash: str, by: User) -> bool:
        """Take a PENDING invitation in time and by its latest link; tell whether this call did."""
        usable = self.pending().filter(pk=pk, token_hash=token_hash, expires_at__gt=timezone.now())
        ended = {"ended_at": timezone.now(), "accepted_by": by}
        return usable.update(state=InvitationState.ACCEPTED, **ended) == 1

    def withdraw(self, *, pk: ObjectId) -> bool:
        """Move a PENDING invitation to WITHDRAWN; tell whether this call did."""
        waiting = self.pending().filter(pk=pk)
        return waiting.update(state=InvitationState.WITHDRAWN, ended_at=timezone.now()) == 1


def invited_hash(email: str, hospital_id: ObjectId) -> str:
    """Return what stands in for an invited address where two must be compared.

    Raises KeyDestroyed.
    """
    return keyed_hash(email.strip().lower(), hospital_id=hospital_id, purpose="invited e-mail")


class Invitation(models.Model):
    """A hospital's offer of a place, made to the person behind one address.

    Its secret is the token of a link that was mailed, or a first password that was handed over;
    only the hash of it is kept. Nothing here says whether the address has an account.

    Whom it is for rests sealed with the hospital's key: an address here need not be anybody's who
    ever came. `sweeping` deletes it some weeks after it is over.
    """

    hospital = models.ForeignKey(Hospital, on_delete=models.PROTECT, related_name="invitations")
    email = SealedEmailField("e-mail")
    email_hash = models.CharField(max_length=22, editable=False)
    name = SealedCharField(max_length=120)
    roles = ArrayField(models.CharField(max_length=20, choices=Role.choices))
    state = models.CharField(
        max_length=10, choices=InvitationState.choices, default=InvitationState.PENDING
    )
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    # The admin hands over a first password; nothing is mailed.
    by_hand = models.BooleanField(default=False, editable=False)
    invited_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    accepted_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # The document is its own outbox: when a worker may next try to mail it; None: there is no need.
    mail_due_at = models.DateTimeField(null=True, editable=False)
    mail_tries = models.IntegerField(default=0, editable=False)
    # With what a mailed link begins, as the inviter's browser knew this service.
    link_origin = models.CharField(max_length=300, blank=True, editable=False)
    # When the mail server took the latest mail; None while it has taken none.
    mailed_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, editable=False)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["hospital", "state", "-created_at"], name="invitation_newest"),
            models.Index(fields=["mail_due_at"], name="invitation_mail_due"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["hospital", "email_hash"],
                condition=models.Q(state=InvitationState.PENDING),
                name="invitation_pending_hash_once_per_hospital",
                violation_error_message="This address is invited already.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.pk} to {self.hospital_id}"

    def clean(self) -> None:
        super().clean()
        self.email = self.email.strip().lower()
        if not self.roles:
            raise ValidationError({"roles": "Choose at least one role."})

    @property
    def role_labels(self) -> list[str]:
        return labels_of(self.roles)

    @property
    def is_pending(self) -> bool:
        return self.state == InvitationState.PENDING

    @property
    def is_expired(self) -> bool:
        return self.is_pending and self.expires_at <= timezone.now()
