"""What roles may do: a small table, spelled out."""

from accounts.permissions import ROLE_CAPABILITIES, ROLE_MEANINGS, Capability, Role, capabilities_of

SEE, EDIT = Capability.SEE_RECORDS, Capability.EDIT_PATIENTS
CAPTURE, MANAGE = Capability.CAPTURE_CASES, Capability.MANAGE_PEOPLE
MERGE, EXPORT = Capability.MERGE_PATIENTS, Capability.EXPORT_PATIENTS
HOLD, ERASE = Capability.HOLD_PATIENTS, Capability.ERASE_PATIENTS
STAFF = {SEE, EDIT, CAPTURE, MERGE, EXPORT, HOLD}


def test_roles_may_what_their_meaning_says():
    assert {role: set(capabilities_of([role])) for role in Role} == {
        Role.STAFF: STAFF,
        Role.GRADER: {SEE},
        Role.ARBITRATOR: {SEE},
        Role.HOSPITAL_ADMIN: {MANAGE, ERASE},
        Role.AUDITOR: {SEE, Capability.READ_AUDIT},
    }
    assert set(ROLE_MEANINGS) == set(ROLE_CAPABILITIES) == set(Role)


def test_several_roles_add_up_and_unknown_ones_add_nothing():
    assert capabilities_of(["staff", "hospital_admin"]) == STAFF | {MANAGE, ERASE}
    assert capabilities_of(["grader", "role of a later version"]) == {SEE}
    assert capabilities_of([]) == set()


def test_every_capability_belongs_to_a_role():
    assert capabilities_of(list(Role)) == set(Capability)
