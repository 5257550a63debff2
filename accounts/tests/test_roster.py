"""Rosters as spreadsheets write them: every line is judged, and no bad one holds up a good one."""

import pytest
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.models import Invitation, InvitationState, Membership
from accounts.people.mail import due_mails_send
from accounts.people.roster import MAX_BYTES, MAX_ROWS, RosterError, Verdict, roster_read
from accounts.services import membership_deactivate
from accounts.tests.factories import make_invitation

UPLOAD = "/accounts/people/import/"
HEADING = "Name,E-mail,Roles\n"


def read(text: str, encoding: str = "utf-8") -> list:
    return roster_read(text.encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_file_of_every_spreadsheet_program_is_read(encoding, delimiter, newline):
    lines = [["Name", "E-mail", "Roles"], ["Jürgen Bär", "JB@x.example", "Staff"]]
    text = newline.join(delimiter.join(cells) for cells in lines) + newline
    [row] = read(text, encoding)
    assert (row.name, row.email, row.roles) == ("Jürgen Bär", "jb@x.example", ("staff",))
    assert (row.line, row.verdict) == (2, Verdict.INVITE)


def test_columns_are_found_by_their_names_in_any_order():
    [row] = read("Department;ROLE;email;Full name\nEyes;Grader;a@x.example;Ana\n")
    assert (row.name, row.email, row.roles) == ("Ana", "a@x.example", ("grader",))
    [row] = read("sep=;\nname;mail;roles\nAna;a@x.example;staff\n")
    assert (row.line, row.name) == (3, "Ana")
    [row] = read("Ana,a@x.example,staff\n")
    assert (row.line, row.email) == (1, "a@x.example")


def test_cells_may_hold_quotes_breaks_and_spaces():
    ana, ben = '" Ana\nMaria  Lake ",a@x.example,"Staff, Grader"', "Ben,b@x.example,staff"
    rows = read(f"{HEADING}{ana}\n\n , ,\n{ben}\n")
    assert [(row.line, row.name) for row in rows] == [(2, "Ana Maria Lake"), (6, "Ben")]
    assert rows[0].roles == ("staff", "grader")


@pytest.mark.parametrize(
    ("cell", "roles"),
    [
        ("hospital_admin", ("hospital_admin",)),
        ("Hospital Admin", ("hospital_admin",)),
        ("ADMIN", ("hospital_admin",)),
        ("Grader; Staff", ("staff", "grader")),
        ("grader and arbitrator", ("grader", "arbitrator")),
        ("auditor/staff|grader", ("staff", "grader", "auditor")),
    ],
)
def test_roles_are_taken_as_people_write_them(cell, roles):
    [row] = read(f'Name,E-mail,Roles\nA,a@x.example,"{cell}"\n')
    assert row.roles == roles


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (",a@x.example,staff", Verdict.NO_NAME),
        ("\u200b\u202e,a@x.example,staff", Verdict.NO_NAME),
        ("A" * 121 + ",a@x.example,staff", Verdict.LONG_NAME),
        ("=HYPERLINK(1),a@x.example,staff", Verdict.FORMULA),
        ("@SUM(A1),a@x.example,staff", Verdict.FORMULA),
        ("A,+cmd@x.example,staff", Verdict.FORMULA),
        ("A,nowhere,staff", Verdict.BAD_EMAIL),
        ("A,a@x.example b@x.example,staff", Verdict.BAD_EMAIL),
        ("A", Verdict.BAD_EMAIL),
        ("A,a@x.example", Verdict.NO_ROLE),
        ("A,a@x.example,surgeon", Verdict.UNKNOWN_ROLE),
        ("A,a@x.example,=staff", Verdict.UNKNOWN_ROLE),
    ],
)
def test_bad_line_has_its_number_and_a_cure_and_the_others_stay_good(line, verdict):
    rows = read(f"{HEADING}Good,good@x.example,staff\n{line}\nFine,fine@x.example,grader\n")
    assert [row.verdict for row in rows] == [Verdict.INVITE, verdict, Verdict.INVITE]
    assert rows[1].line == 3
    assert rows[1].cure
    assert rows[1].is_bad


def test_repeated_address_names_the_line_that_counts():
    rows = read(f"{HEADING}A,a@x.example,staff\nB,b@x.example,staff\nC,A@X.example,grader\n")
    assert [row.verdict for row in rows] == [Verdict.INVITE, Verdict.INVITE, Verdict.DUPLICATE]
    assert "Line 2" in rows[2].cure
    # A bad line doesn't take the address from a good one.
    rows = read(f"{HEADING}A,a@x.example,surgeon\nA,a@x.example,staff\n")
    assert rows[1].is_good


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (HEADING.encode(), "no people"),
        (b"Nom,Courriel\nA,B\n", "Not found: name, e-mail, roles"),
        (b"PK\x03\x04rest", "workbook"),
        (b"\x00\x01\x02binary", "not a text file"),
        (b"\xff\xfe\x00", "damaged"),
        (b"x" * (MAX_BYTES + 1), "larger than"),
        ((HEADING + "A,a@x.example,staff\n" * (MAX_ROWS + 1)).encode(), "more than"),
    ],
)
def test_file_that_cant_be_read_says_why(content, words):
    with pytest.raises(RosterError, match=words):
        roster_read(content)


def upload(client, text: str, name: str = "people.csv"):
    return client.post(UPLOAD, {"file": SimpleUploadedFile(name, text.encode())})


def confirm(client, preview):
    return client.post(f"{UPLOAD}confirm/", {"rows": preview.context["sealed"]})


def test_list_is_shown_before_anybody_is_invited(two_hospitals, client_of, settings):
    settings.MAIL_REACHES_PEOPLE = True
    hospital, admin = two_hospitals.a.hospital, client_of(two_hospitals.a.admin)
    pending = make_invitation(hospital)
    membership_deactivate(membership=Membership.objects.get(user=two_hospitals.a.grader))
    elsewhere = two_hospitals.b.staff
    preview = upload(
        admin,
        f"{HEADING}New,new@x.example,staff\nThere,{two_hospitals.a.staff.email},staff\n"
        f"Off,{two_hospitals.a.grader.email},grader\nAsked,{pending.email},staff\n"
        f"Bad,nowhere,staff\nElse,{elsewhere.email},auditor\n",
    )
    assert preview.status_code == 200
    shown = [row.verdict for row in preview.context["rows"]]
    assert shown == ["invite", "member", "deactivated", "pending", "bad_email", "invite"]
    assert "2 of 6 will be invited" in preview.text
    assert Invitation.objects.count() == 1

    report = confirm(admin, preview)
    assert "2 of 6 are invited" in report.text
    assert mail.outbox == []
    assert due_mails_send() == 2
    assert sorted(one.to[0] for one in mail.outbox) == sorted(["new@x.example", elsewhere.email])
    invited = Invitation.objects.filter(hospital=hospital, state=InvitationState.PENDING)
    assert {one.email for one in invited} == {pending.email, "new@x.example", elsewhere.email}
    assert all(one.mailed_at for one in invited if one.pk != pending.pk)

    # A second click finds nothing left to do.
    assert "0 of 6 are invited" in confirm(admin, preview).text
    assert due_mails_send() == 0
    assert len(mail.outbox) == 2


def test_confirmed_rows_are_those_that_this_admin_was_shown(two_hospitals, client_of):
    preview = upload(client_of(two_hospitals.a.admin), f"{HEADING}New,new@x.example,staff\n")
    other = client_of(two_hospitals.b.admin)
    assert confirm(other, preview)["Location"] == UPLOAD
    made_up = {"rows": preview.context["sealed"][:-1] + "x"}
    assert client_of(two_hospitals.a.admin).post(f"{UPLOAD}confirm/", made_up).status_code == 302
    assert not Invitation.objects.exists()


def test_file_that_is_none_is_refused_on_the_page(two_hospitals, client_of):
    admin = client_of(two_hospitals.a.admin)
    refused = upload(admin, "PK\x03\x04", "people.xlsx")
    assert refused.status_code == 422
    assert "Save the sheet as CSV" in refused.text
    assert admin.post(UPLOAD).status_code == 422
    assert "larger than 200 kB" in upload(admin, "x" * (MAX_BYTES + 1)).text
    assert "first line must name the columns" in upload(admin, "<script>,b\nc,d\n").text


def test_links_are_shown_for_each_where_mail_reaches_nobody(two_hospitals, client_of):
    admin = client_of(two_hospitals.a.admin)
    preview = upload(admin, f"{HEADING}A,a@x.example,staff\nB,b@x.example,staff\n")
    report = confirm(admin, preview)
    assert len(set(report.context["links"])) == 2
    assert all(link in report.text for _, link in report.context["links"])


def test_example_file_can_be_imported_as_it_is(settings):
    rows = roster_read((settings.BASE_DIR / "static" / "people.csv").read_bytes())
    assert [row.verdict for row in rows] == [Verdict.INVITE] * 2
