"""What roles may do: a small table, spelled out."""

from accounts.permissions import ROLE_CAPABILITIES, ROLE_MEANINGS, Capability, Role, capabilities_of

SEE, EDIT = Capability.SEE_RECORDS, Capability.EDIT_PATIENTS
CAPTURE, MANAGE = Capability.CAPTURE_CASES, Capability.MANAGE_PEOPLE


def test_roles_may_what_their_meaning_says():
    assert {role: set(capabilities_of([role])) for role in Role} == {
        Role.STAFF: {SEE, EDIT, CAPTURE},
        Role.GRADER: {SEE},
        Role.ARBITRATOR: {SEE},
        Role.HOSPITAL_ADMIN: {MANAGE},
        Role.AUDITOR: {SEE},
    }
    assert set(ROLE_MEANINGS) == set(ROLE_CAPABILITIES) == set(Role)


def test_several_roles_add_up_and_unknown_ones_add_nothing():
    assert capabilities_of(["staff", "hospital_admin"]) == {SEE, EDIT, CAPTURE, MANAGE}
    assert capabilities_of(["auditor", "role of a later version"]) == {SEE}
    assert capabilities_of([]) == set()


def test_every_capability_belongs_to_a_role():
    assert capabilities_of(list(Role)) == set(Capability)
