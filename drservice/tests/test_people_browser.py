"""The walk of a person through a hospital in real browsers: invited, taken in, shut out."""

import email
import email.policy
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from accounts.permissions import Role
from accounts.tests.factories import make_member, make_membership
from workspace.tests.test_browser import (
    address,
    assert_nothing_sticks_out,
    browser,
    faults,
    new_page,
    sign_in,
)

__all__ = ["address", "browser", "faults"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
]

# A second, and what a busy machine takes to paint.
SHUT_OUT_MS = 2500
OWN = "three words together"


@pytest.fixture
def process_environment(process_environment) -> dict[str, str]:
    """Let the web process write its mail into files."""
    return {**process_environment, "EMAIL_URL": "file:"}


def mailed_link(folder: Path) -> str:
    """Return the link of the only mail there is."""
    [file] = folder.iterdir()
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    return re.search(r"http://\S+/accounts/invitation/\S+", message.get_content())[0]


def invite(page: Page, email: str, role: str) -> None:
    page.get_by_role("link", name="People", exact=True).first.click()
    assert_nothing_sticks_out(page)
    page.get_by_role("link", name="Invite a person").click()
    page.get_by_label("Name").fill("Ana Lake")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label(f"{role}:").check()
    page.get_by_role("button", name="Send invitation").click()
    expect(page.get_by_role("heading", name="Ana Lake is invited")).to_be_visible()
    assert_nothing_sticks_out(page)


def test_invited_person_works_until_they_are_deactivated(
    browser: Browser, address, two_hospitals, faults, tmp_path
):
    admin = new_page(browser, faults)
    sign_in(admin, address, two_hospitals.a.admin)
    invite(admin, "ana@lake.example", "Staff")

    guest = new_page(browser, faults)
    guest.goto(mailed_link(tmp_path / "var" / "mail"))
    assert guest.url.endswith("/accounts/invitation/")
    expect(guest.get_by_text("Hospital A")).to_be_visible()
    assert_nothing_sticks_out(guest)
    guest.get_by_label("Your name").fill("Ana Maria")
    guest.locator("[name=new_password1]").fill(OWN)
    guest.locator("[name=new_password2]").fill(OWN)
    guest.get_by_role("button", name="Accept and sign in").click()
    expect(guest.get_by_role("heading", name="Worklist")).to_be_visible()
    expect(guest.get_by_text("Welcome to Hospital A")).to_be_visible()

    admin.get_by_role("link", name="Done").click()
    expect(admin.get_by_text("No invitation is pending")).to_be_visible()
    admin.get_by_role("navigation", name="People").get_by_role("link", name="People").click()
    row = admin.get_by_role("row").filter(has_text="Ana Maria")
    expect(row.get_by_text("Active")).to_be_visible()
    # The stream of the worklist is open by now; nothing is clicked in the guest's browser again.
    guest.wait_for_function("window.performance.getEntriesByType('resource').length > 0")
    row.get_by_role("button", name="Deactivate").click()
    began = time.monotonic()
    expect(guest.get_by_role("heading", name="Worklist")).to_have_count(0, timeout=SHUT_OUT_MS)
    assert time.monotonic() - began < SHUT_OUT_MS / 1000
    expect(row.get_by_text("Deactivated")).to_be_visible()
    guest.goto(f"{address}/patients/")
    expect(guest.get_by_role("heading", name="Patients")).to_have_count(0)
    # The browser notes the pages that are closed to the guest; those are meant.
    assert [fault for fault in faults if "status of 404" not in fault] == []


def test_people_are_found_and_a_list_is_imported(
    browser: Browser, address, two_hospitals, faults, tmp_path
):
    for number in range(30):
        make_member(two_hospitals.a.hospital, Role.GRADER, name=f"Grader {number:02}")
    page = new_page(browser, faults)
    sign_in(page, address, two_hospitals.a.admin)
    expect(page.get_by_role("link", name="Next")).to_be_visible()
    page.get_by_label("Name or e-mail").fill("grader 07")
    expect(page.get_by_text("1 person found")).to_be_visible()
    page.get_by_label("Name or e-mail").fill("")
    page.get_by_label("Role").select_option("arbitrator")
    expect(page.get_by_role("row", name="Arbitrator of Hospital A")).to_be_visible()
    page.wait_for_url("**role=arbitrator**")
    assert_nothing_sticks_out(page)

    page.get_by_role("link", name="Import a list").click()
    assert_nothing_sticks_out(page)
    roster = tmp_path / "people.csv"
    roster.write_bytes(
        "Name;E-mail;Roles\r\nJürgen Bär;jb@x.example;Staff\r\nNo Address;;Staff".encode("cp1252")
    )
    page.get_by_label("CSV file").set_input_files(roster)
    page.get_by_role("button", name="Show what is in it").click()
    expect(page.get_by_role("heading", name="1 of 2 will be invited")).to_be_visible()
    expect(page.get_by_text("Jürgen Bär")).to_be_visible()
    assert_nothing_sticks_out(page)
    page.get_by_role("button", name="Invite 1 person").click()
    expect(page.get_by_role("heading", name="1 of 2 is invited")).to_be_visible()
    assert_nothing_sticks_out(page)
    # The browser also notes the answer that asks for a correction; that one is meant.
    assert [fault for fault in faults if "status of 422" not in fault] == []


def test_hospital_is_switched_without_javascript_and_by_keys_alone(
    browser: Browser, address, two_hospitals, faults
):
    user = make_member(two_hospitals.a.hospital, Role.STAFF)
    make_membership(user, two_hospitals.b.hospital, Role.STAFF)
    plain = new_page(browser, faults, java_script_enabled=False)
    sign_in(plain, address, user)
    plain.locator(".menu summary").click()
    plain.get_by_role("button", name="Hospital B").click()
    expect(plain.locator(".menu-hospital")).to_have_text("Hospital B")

    page = new_page(browser, faults)
    sign_in(page, address, user)
    expect(page.locator(".menu-hospital")).to_have_text("Hospital A")
    other_tab = page.context.new_page()
    other_tab.goto(f"{address}/cases/")
    page.locator(".menu summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Hospital B")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".menu-hospital")).to_have_text("Hospital B")
    # Nothing stays open of the hospital before.
    expect(other_tab.locator(".menu-hospital")).to_have_text("Hospital B", timeout=SHUT_OUT_MS)
    assert faults == []
