"""What each role may do. Views ask for a capability, never for a role."""

from django.db import models


class Role(models.TextChoices):
    STAFF = "staff", "Staff"
    GRADER = "grader", "Grader"
    ARBITRATOR = "arbitrator", "Arbitrator"
    HOSPITAL_ADMIN = "hospital_admin", "Hospital admin"
    AUDITOR = "auditor", "Auditor"


class Capability(models.TextChoices):
    SEE_RECORDS = "see_records", "see patients and cases"
    EDIT_PATIENTS = "edit_patients", "register and correct patients"
    CAPTURE_CASES = "capture_cases", "make, photograph and submit cases"
    MERGE_PATIENTS = "merge_patients", "merge the records of one person"
    EXPORT_PATIENTS = "export_patients", "export a patient's record"
    HOLD_PATIENTS = "hold_patients", "hold a patient's record, or ask for its erasure"
    ERASE_PATIENTS = "erase_patients", "decide how long records are kept, and what is erased"
    MANAGE_PEOPLE = "manage_people", "manage the hospital's people"
    READ_AUDIT = "read_audit", "read the audit trail"


ROLE_CAPABILITIES: dict[Role, frozenset[Capability]] = {
    Role.STAFF: frozenset(
        {
            Capability.SEE_RECORDS,
            Capability.EDIT_PATIENTS,
            Capability.CAPTURE_CASES,
            Capability.MERGE_PATIENTS,
            Capability.EXPORT_PATIENTS,
            Capability.HOLD_PATIENTS,
        }
    ),
    Role.GRADER: frozenset({Capability.SEE_RECORDS}),
    Role.ARBITRATOR: frozenset({Capability.SEE_RECORDS}),
    # Decides about erasures by their reference, without seeing whom they are about.
    Role.HOSPITAL_ADMIN: frozenset({Capability.MANAGE_PEOPLE, Capability.ERASE_PATIENTS}),
    Role.AUDITOR: frozenset({Capability.SEE_RECORDS, Capability.READ_AUDIT}),
}

ROLE_MEANINGS: dict[Role, str] = {
    Role.STAFF: (
        "Registers patients, photographs eyes and submits cases. Merges, exports and holds "
        "records, and asks for erasures."
    ),
    Role.GRADER: "Reads cases and their grades.",
    Role.ARBITRATOR: "Reads cases, and decides where graders disagree.",
    Role.HOSPITAL_ADMIN: (
        "Adds people, changes their roles, and deactivates them. Decides how long records are "
        "kept and confirms erasures. Sees no patient."
    ),
    Role.AUDITOR: "Reads everything, the audit trail too, and changes nothing.",
}


def capabilities_of(roles: list[str]) -> frozenset[Capability]:
    """Return the union of what the given roles may do; a role of another version may nothing."""
    granted = (ROLE_CAPABILITIES.get(role, frozenset()) for role in roles)
    return frozenset().union(*granted)


def labels_of(roles: list[str]) -> list[str]:
    """Return what pages call the given roles, always in the same order."""
    return [role.label for role in Role if role in roles]
