"""Hold a roster against a hospital's people, and invite whom it names."""

from django.core.exceptions import ValidationError

from accounts.models import Hospital, User
from accounts.people.roster import Row, Verdict
from accounts.people.selectors import invited_emails, member_emails
from accounts.people.services import Issued, invitation_create


def roster_judge(*, hospital: Hospital, rows: list[Row]) -> list[Row]:
    """Say of each good row whether its person works here or is invited already."""
    members, invited = member_emails(hospital), invited_emails(hospital)
    return [_judged(row, members, invited) if row.is_good else row for row in rows]


def roster_invite(
    *, hospital: Hospital, rows: list[Row], by: User, mail_from: str = ""
) -> tuple[list[Row], list[Issued]]:
    """Invite everybody on good rows, to be mailed if `mail_from` says so.

    Returns the rows with what became of each.

    Each row stands by itself: whatever is wrong with one by now takes nothing from the others.
    """
    results, issued = [], []
    for row in roster_judge(hospital=hospital, rows=rows):
        if row.is_good:
            row, one = _invite(hospital, row, by, mail_from)
            issued += [one] if one else []
        results.append(row)
    return results, issued


def _invite(hospital: Hospital, row: Row, by: User, mail_from: str) -> tuple[Row, Issued | None]:
    try:
        issued = invitation_create(
            hospital=hospital,
            email=row.email,
            name=row.name,
            roles=list(row.roles),
            by=by,
            mail_from=mail_from,
        )
    except ValidationError as error:
        return row.judged(Verdict.REFUSED, " ".join(error.messages)), None
    return row.judged(Verdict.INVITED), issued


def _judged(row: Row, members: dict, invited: set[str]) -> Row:
    member = members.get(row.email)
    if member is not None and member.is_active:
        return row.judged(Verdict.MEMBER, "Nothing to do. Change their roles on their own page.")
    if member is not None:
        return row.judged(Verdict.DEACTIVATED, "Activate them in the list of people.")
    if row.email in invited:
        return row.judged(Verdict.PENDING, "Nothing to do. Send it again from the invitations.")
    return row
