"""Events about a person's account: in the chain of every hospital where they work."""

from accounts.audit.actions import Action
from accounts.audit.actors import Actor
from accounts.audit.chain import PLATFORM
from accounts.audit.services import audit_record, audited
from accounts.models import User
from accounts.selectors import memberships_of


@audited
def account_record(
    action: Action, user: User, *, subject_id: object = "", actor: Actor | None = None, **told
) -> None:
    """Keep an event in the chains that concern a person, or the platform's if they have none.

    All of them or none, as a part of the open transaction. Raises AuditUnavailable.
    """
    chains = [membership.hospital_id for membership in memberships_of(user)] or [PLATFORM]
    for chain in chains:
        audit_record(
            action=action,
            subject_kind="account",
            subject_id=subject_id or user.pk,
            hospital_id=chain,
            actor=actor,
            **told,
        )
