"""Invite many people from a CSV file: look at it first, then confirm."""

from dataclasses import asdict

from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import access_membership, member
from accounts.pages import form_page, posted, require_form
from accounts.people.forms import RosterForm
from accounts.people.roster import MAX_BYTES, MAX_ROWS, RosterError, Row, Verdict, roster_read
from accounts.people.roster_services import roster_invite, roster_judge
from accounts.people.selectors import mail_counts
from accounts.people.views.invitations import links_to_hand_over, mail_from
from accounts.permissions import ROLE_MEANINGS, Capability

INVITATIONS = {"section": "people", "tab": "invitations"}
# How long a list that was looked at may wait for its confirmation.
CONFIRM_WITHIN_S = 3600


@member(Capability.MANAGE_PEOPLE)
@require_form
def roster_upload(request: HttpRequest) -> HttpResponse:
    """Read a file and show what would become of each line; nobody is invited yet."""
    form = RosterForm(posted(request), request.FILES or None)
    if form.is_valid():
        try:
            rows = roster_read(form.cleaned_data["file"].read(MAX_BYTES + 1))
        except RosterError as error:
            form.add_error("file", str(error))
        else:
            return _preview(request, rows)
    context = {**INVITATIONS, "roles": ROLE_MEANINGS, "max_rows": MAX_ROWS}
    context["mails"] = mail_counts(access_membership(request).hospital)
    return form_page(request, "accounts/roster_upload.html", form, **context)


@member(Capability.MANAGE_PEOPLE)
@require_POST
def roster_confirm(request: HttpRequest) -> HttpResponse:
    """Invite the people of a list that was shown, and report each line."""
    rows = _opened(request, request.POST.get("rows", ""))
    if rows is None:
        return redirect("accounts:roster-upload")
    hospital = access_membership(request).hospital
    results, issued = roster_invite(
        hospital=hospital, rows=rows, by=request.user, mail_from=mail_from(request)
    )
    context = {
        **_report(results),
        "links": links_to_hand_over(request, issued),
        "mails": mail_counts(hospital),
    }
    return render(request, "accounts/roster_report.html", context)


def _preview(request: HttpRequest, rows: list[Row]) -> HttpResponse:
    rows = roster_judge(hospital=access_membership(request).hospital, rows=rows)
    context = {**_report(rows), "sealed": _sealed(request, rows)}
    return render(request, "accounts/roster_preview.html", context)


def _report(rows: list[Row]) -> dict:
    return {
        **INVITATIONS,
        "rows": rows,
        "good": sum(row.verdict in (Verdict.INVITE, Verdict.INVITED) for row in rows),
        "bad": sum(row.is_bad for row in rows),
    }


def _sealed(request: HttpRequest, rows: list[Row]) -> str:
    """Sign the rows for the page to carry: whoever confirms confirms what was shown to them."""
    return signing.dumps([asdict(row) for row in rows], salt=_salt(request), compress=True)


def _opened(request: HttpRequest, sealed: str) -> list[Row] | None:
    try:
        read = signing.loads(sealed, salt=_salt(request), max_age=CONFIRM_WITHIN_S)
    except signing.BadSignature:
        return None
    return [
        Row(**{**row, "roles": tuple(row["roles"]), "verdict": Verdict(row["verdict"])})
        for row in read
    ]


def _salt(request: HttpRequest) -> str:
    membership = access_membership(request)
    return f"accounts.roster.{membership.hospital_id}.{membership.user_id}"
