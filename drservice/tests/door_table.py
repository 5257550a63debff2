"""Every URL with who may enter it, and the objects of hospital A that stand in addresses.

A new URL needs one line in `TABLE`. A new kind of object in an address needs one function in the
list below it. Everything else that walks doors (permissions, scopes, tokens, page contents,
methods, odd input) takes both from here.

`who` is one of
    public       anybody
    signed-in    anybody with an account
    operator     platform operators; a 404 to everybody else who is signed in
    see_records  members of the active hospital with this capability (or any other one)
A `=` before it stands for a door that strangers can't even see: what is fetched by a page is a 404
to the anonymous, while pages lead them to sign-in.

`what` is the object in the address, always one of hospital A. A `~` before it stands for an object
of one person who is nobody in the table (a session, a passkey): a 404 to everybody who walks by.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from bson import ObjectId

from accounts.models import Hospital, Membership
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_invitation, make_member, make_user
from drservice.operators.tests.factories import make_model_record
from workspace.models import Case, Erasure, Patient
from workspace.patients.erasing import erasure_ask
from workspace.schemas import ErasureReason
from workspace.tests.factories import graded_case_with_files, make_patient

TABLE = """
name                        methods   who             what
accounts:start              GET       signed-in       -
accounts:sign-in            GET,POST  public          -
accounts:sign-out           POST      signed-in       -
accounts:password-change    GET,POST  signed-in       -
accounts:first-factor       GET,POST  signed-in       -
accounts:first-factor-mail  POST      signed-in       -
accounts:session-list       GET       signed-in       -
accounts:session-close      POST      signed-in       ~session
accounts:session-close-others  POST   signed-in       -
accounts:hospital-switch    POST      signed-in       hospital
accounts:audit-list         GET,POST  read_audit      -
accounts:audit-export       GET       read_audit      -
accounts:audit-head         GET       read_audit      -
accounts:member-list        GET,POST  manage_people   -
accounts:usage-detail       GET       manage_people   -
accounts:member-create      GET,POST  manage_people   -
accounts:member-update      GET,POST  manage_people   membership
accounts:member-deactivate  POST      manage_people   membership
accounts:member-activate    POST      manage_people   membership
accounts:member-sign-out    POST      manage_people   membership
accounts:member-transfer    GET,POST  manage_people   membership
accounts:invitation-list    GET,POST  manage_people   -
accounts:invitation-new     GET,POST  manage_people   -
accounts:invitation-resend  POST      manage_people   invitation
accounts:invitation-withdraw  POST    manage_people   invitation
accounts:roster-upload      GET,POST  manage_people   -
accounts:roster-confirm     POST      manage_people   -
accounts:hospital-rules     GET,POST  manage_people   -
accounts:invitation         GET,POST  public          -
accounts:invitation-sign-out  POST    public          -
accounts:invitation-link    GET       public          token
account_login               GET,POST  public          -
mfa_authenticate            GET,POST  public          -
mfa_login_webauthn          GET,POST  public          -
openid_connect_login        GET       public          -
openid_connect_callback     GET       public          -
account_reauthenticate      GET,POST  signed-in       -
mfa_reauthenticate          GET,POST  signed-in       -
mfa_reauthenticate_webauthn  GET,POST  signed-in      -
mfa_index                   GET       signed-in       -
mfa_activate_totp           GET,POST  signed-in       -
mfa_deactivate_totp         GET,POST  signed-in       -
mfa_view_recovery_codes     GET       signed-in       -
mfa_generate_recovery_codes  GET,POST  signed-in      -
mfa_add_webauthn            GET,POST  signed-in       -
mfa_edit_webauthn           GET,POST  signed-in       ~passkey
mfa_remove_webauthn         GET,POST  signed-in       ~passkey
account_reset_password      GET,POST  public          -
account_reset_password_done  GET      public          -
account_reset_password_from_key  GET,POST  public     reset
account_reset_password_from_key_done  GET  public     -
workspace:home              GET       signed-in       -
workspace:patient-list      GET,POST  see_records     -
workspace:patient-create    GET,POST  edit_patients   -
workspace:patient-detail    GET       see_records     patient
workspace:patient-update    GET,POST  edit_patients   patient
workspace:duplicate-list    GET       merge_patients  -
workspace:patient-duplicates GET,POST merge_patients  patient
workspace:patient-merge     GET,POST  merge_patients  pair
workspace:patient-tell-apart POST     merge_patients  pair
workspace:patient-unmerge   GET,POST  merge_patients  patient
workspace:patient-export    GET,POST  export_patients patient
workspace:patient-hold      GET,POST  hold_patients   patient
workspace:patient-release   POST      hold_patients   patient
workspace:patient-erase     GET,POST  hold_patients   patient
workspace:patient-erase-withdraw POST hold_patients   patient
workspace:record-keeping    GET,POST  erase_patients  -
workspace:hospital-hold     POST      erase_patients  -
workspace:hospital-release  POST      erase_patients  -
workspace:erasure-detail    GET,POST  erase_patients  erasure
workspace:erasure-decline   POST      erase_patients  erasure
workspace:case-create       GET,POST  capture_cases   patient
workspace:case-list         GET       see_records     -
workspace:worklist-events   GET       =see_records    -
workspace:case-detail       GET       see_records     case
workspace:case-details      GET,POST  capture_cases   case
workspace:case-submit       GET,POST  capture_cases   case
workspace:case-cancel       POST      capture_cases   case
workspace:case-void         POST      capture_cases   case
workspace:case-reinstate    POST      capture_cases   case
workspace:case-end-retakes  POST      capture_cases   case
workspace:case-status       GET       =see_records    case
workspace:case-events       GET       =see_records    case
workspace:case-photographs  GET       capture_cases   case
workspace:case-image-add    POST      capture_cases   case
workspace:image-label       POST      capture_cases   image
workspace:image-remove      POST      capture_cases   image
workspace:image-original    GET       =see_records    image
workspace:image-display     GET       =see_records    image
workspace:image-thumbnail   GET       =see_records    image
workspace:image-heatmap     GET       =see_records    image
operators:hospital-list     GET       operator        -
operators:hospital-create   GET,POST  operator        -
operators:hospital-detail   GET       operator        some-hospital
operators:hospital-rename   GET,POST  operator        some-hospital
operators:hospital-invite   GET,POST  operator        some-hospital
operators:hospital-rules    GET,POST  operator        some-hospital
operators:hospital-limits   GET,POST  operator        some-hospital
operators:hospital-close    GET,POST  operator        some-hospital
operators:hospital-open     GET,POST  operator        some-hospital
operators:model-list        GET       operator        -
operators:model-rollback    GET,POST  operator        -
operators:model-detail      GET       operator        model
operators:model-promote     GET,POST  operator        model
operators:health            GET       operator        -
operators:operator-list     GET       operator        -
operators:operator-create   GET,POST  operator        -
operators:operator-deactivate  GET,POST  operator     some-operator
operators:operator-activate    GET,POST  operator     some-operator
alive                       GET       public          -
ready                       GET       public          -
"""


@dataclass(frozen=True)
class HospitalA:
    """Hospital A with something of everything in it, made when it is first asked for."""

    hospital: Hospital

    @cached_property
    def case(self) -> Case:
        return graded_case_with_files(make_patient(self.hospital))

    @cached_property
    def colleague(self) -> Membership:
        return Membership.objects.get(user=make_member(self.hospital, "auditor"))

    @cached_property
    def other_patient(self) -> Patient:
        return make_patient(self.hospital)

    @cached_property
    def erasure(self) -> Erasure:
        with hospital_scope(self.hospital.pk):
            asked_by = make_member(self.hospital, "staff")
            patient = make_patient(self.hospital)
            return erasure_ask(patient=patient, by=asked_by, reason=ErasureReason.WISH)


# The arguments of an address for each kind of object; "-" is an address without any.
OBJECTS: dict[str, Callable[[HospitalA], dict]] = {
    "-": lambda a: {},
    "hospital": lambda a: {},
    "membership": lambda a: {"pk": a.colleague.pk},
    "invitation": lambda a: {"pk": make_invitation(a.hospital).pk},
    "token": lambda a: {"token": "no-such-token"},
    "patient": lambda a: {"pk": a.case.patient_id},
    "pair": lambda a: {"pk": a.case.patient_id, "other": a.other_patient.pk},
    "erasure": lambda a: {"pk": a.erasure.pk},
    "case": lambda a: {"pk": a.case.pk},
    "image": lambda a: {"pk": a.case.pk, "key": a.case.images[0].key},
    "some-hospital": lambda a: {"pk": a.hospital.pk},
    "some-operator": lambda a: {"pk": make_user(is_operator=True).pk},
    "model": lambda a: {"pk": make_model_record().pk},
    "session": lambda a: {"pk": session_of_nobody_here().pk},
    "passkey": lambda a: {"pk": passkey_of_nobody_here().pk},
    "reset": lambda a: {"uidb36": str(a.colleague.user_id), "key": "no-such-token"},
}

# What a form must send before its door looks at whose object it is.
POSTED: dict[str, Callable[[HospitalA], dict]] = {
    "accounts:hospital-switch": lambda a: {"hospital": str(a.hospital.pk)},
}

# Two doors let in and then lead to where others are sent who may not enter.
LEADS_TO_SIGN_IN = {"accounts:sign-out"}
LEADS_TO_PASSWORD = {"accounts:start"}
# What stands between a password and its second factor is for nobody who has not begun to sign in.
LEADS_THE_ANONYMOUS_TO_SIGN_IN = {
    "mfa_authenticate",
    "mfa_login_webauthn",
    "openid_connect_login",
    "openid_connect_callback",
}


def missing(arguments: dict) -> dict:
    """Return arguments of the same form that belong to nothing anywhere."""
    return {name: _never_was(value) for name, value in arguments.items()}


def _never_was(value):
    if isinstance(value, ObjectId):
        return ObjectId()
    return hashlib.sha256(str(value).encode()).hexdigest()[: len(str(value))]


def session_of_nobody_here() -> UserSession:
    """Return a session of somebody who isn't among the people that walk."""
    return UserSession.objects.create(user=make_user(), ip="192.0.2.1", session_key=str(ObjectId()))


def passkey_of_nobody_here() -> Authenticator:
    """Return a passkey of somebody who isn't among the people that walk."""
    kind = Authenticator.Type.WEBAUTHN
    return Authenticator.objects.create(user=make_user(), type=kind, data={"name": "A passkey"})
