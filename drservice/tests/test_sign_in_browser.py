"""Second factors in a real browser: an app, a second browser, recovery codes, and a passkey."""

import email
import email.policy
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from accounts.sign_in.first_factor import code_hand_over
from accounts.sign_in.tests.factories import code_in, code_of
from accounts.tests.factories import PASSWORD
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


@pytest.fixture
def process_environment(process_environment) -> dict[str, str]:
    """Let the web process write its mail into files."""
    return {**process_environment, "EMAIL_URL": "file:"}


@pytest.fixture
def home(address) -> str:
    """The service under a name: passkeys belong to names, not to numbers."""
    return address.replace("127.0.0.1", "localhost")


def sign_out(page: Page) -> None:
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def newest_code(folder: Path) -> str:
    """Return the code of the mail that was written last."""
    file = max(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    return code_in(message.get_content())


def read_the_mail(page: Page, folder: Path) -> None:
    """Prove by two mails, and by keys alone, that the account is one's own."""
    expect(page.get_by_role("heading", name="Show that it is you")).to_be_visible()
    assert_nothing_sticks_out(page)
    page.get_by_role("button", name="Send the code").press("Enter")
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
    expect(page.get_by_label("Code")).to_be_focused()
    assert_nothing_sticks_out(page)
    first = newest_code(folder)
    page.get_by_role("button", name="Send another code").press("Enter")
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
    page.keyboard.type(first)
    page.keyboard.press("Enter")
    expect(page.get_by_text("This code is not right")).to_be_visible()
    assert_nothing_sticks_out(page)
    page.get_by_label("Code").fill(newest_code(folder))
    page.keyboard.press("Enter")


def set_up_app(page: Page, mail: Path) -> tuple[str, list[str]]:
    """Add an authenticator app. Returns its secret and the recovery codes."""
    page.locator(".menu summary").click()
    page.get_by_role("link", name="Sign-in and security").click()
    assert_nothing_sticks_out(page)
    page.get_by_role("link", name="Add app").click()
    read_the_mail(page, mail)
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    assert page.locator(".qr").evaluate("image => image.naturalWidth") > 0
    page.get_by_text("Or type it in").click()
    secret = page.locator("#app-secret").inner_text()
    assert_nothing_sticks_out(page)
    page.get_by_label("Code").fill(code_of(secret))
    page.get_by_role("button", name="Add app").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    assert_nothing_sticks_out(page)
    return secret, page.locator("#recovery-codes li").all_inner_texts()


def test_app_opens_a_second_browser_and_a_recovery_code_does_so_once(
    browser: Browser, home, two_hospitals, faults, tmp_path
):
    user = two_hospitals.a.staff
    first = new_page(browser, faults)
    sign_in(first, home, user)
    secret, codes = set_up_app(first, tmp_path / "var" / "mail")
    assert len(codes) == 10
    with first.expect_download() as download:
        first.get_by_role("link", name="Download").click()
    kept = download.value.path().read_text()
    assert all(code in kept for code in codes)
    first.get_by_role("link", name="I have kept them").click()
    expect(first.get_by_role("heading", name="Worklist")).to_be_visible()
    sign_out(first)

    second = new_page(browser, faults)
    sign_in(second, home, user)
    expect(second.get_by_role("heading", name="One more step")).to_be_visible()
    assert_nothing_sticks_out(second)
    second.get_by_label("Code").fill(code_of(secret, 1))
    second.get_by_role("button", name="Sign in").click()
    expect(second.get_by_role("heading", name="Worklist")).to_be_visible()

    third = new_page(browser, faults, java_script_enabled=False)
    sign_in(third, home, user)
    third.get_by_label("Code").fill(codes[3])
    third.get_by_role("button", name="Sign in").click()
    expect(third.get_by_role("heading", name="Worklist")).to_be_visible()
    sign_out(third)
    sign_in(third, home, user)
    third.get_by_label("Code").fill(codes[3])
    third.get_by_role("button", name="Sign in").click()
    expect(third.get_by_text("used already")).to_be_visible()
    # The wrong code from the mail: refused forms are a 422, which browsers complain about.
    assert [fault for fault in faults if "status of 422" not in fault] == []


def test_one_browser_ends_the_session_of_another(browser: Browser, home, two_hospitals, faults):
    user = two_hospitals.a.staff
    mine, lost = new_page(browser, faults), new_page(browser, faults)
    sign_in(lost, home, user)
    expect(lost.get_by_role("heading", name="Worklist")).to_be_visible()
    sign_in(mine, home, user)
    mine.goto(f"{home}/accounts/sessions/")
    expect(mine.locator("td strong", has_text="Chrome on Linux")).to_have_count(2)
    assert_nothing_sticks_out(mine)
    mine.get_by_role("button", name="End Chrome on Linux, 127.0.0.1").click()
    expect(mine.get_by_text("That session is ended")).to_be_visible()
    lost.reload()
    expect(lost.get_by_role("heading", name="Sign in")).to_be_visible()
    assert faults == []


def give_a_key(page: Page) -> None:
    """Plug in an authenticator that knows its owner, as telephones and computers have one."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def test_passkey_signs_in_alone(browser: Browser, home, two_hospitals, faults):
    page = new_page(browser, faults)
    give_a_key(page)
    sign_in(page, home, two_hospitals.a.staff)
    page.goto(f"{home}/accounts/security/")
    page.get_by_role("link", name="Add passkey").click()
    page.get_by_text("Somebody gave you a code already?").click()
    page.get_by_label("Code").fill(code_hand_over(user=two_hospitals.a.staff))
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Add a passkey")).to_be_visible()
    assert_nothing_sticks_out(page)
    page.get_by_label("Name").fill("The desk's computer")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.goto(f"{home}/accounts/security/")
    expect(page.locator("strong", has_text="The desk's computer")).to_be_visible()
    assert_nothing_sticks_out(page)
    page.get_by_role("link", name="Rename The desk's computer").click()
    page.get_by_label("Name").fill("Reading room")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("strong", has_text="Reading room")).to_be_visible()
    sign_out(page)

    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Worklist")).to_be_visible()
    sign_out(page)

    sign_in(page, home, two_hospitals.a.staff)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Worklist")).to_be_visible()
    page.goto(f"{home}/accounts/security/")
    page.get_by_role("link", name="Remove Reading room").click()
    page.get_by_role("button", name="Remove passkey").click()
    expect(page.get_by_text("The passkey is removed")).to_be_visible()
    sign_out(page)
    sign_in(page, home, two_hospitals.a.staff)
    expect(page.get_by_role("heading", name="Worklist")).to_be_visible()
    assert faults == []


def test_passkey_that_nobody_has_says_so(browser: Browser, home, faults):
    page = new_page(browser, faults)
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.goto(f"{home}/accounts/sign-in/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("Try again")
    page.locator("[name=password]").fill(PASSWORD)
    assert faults == []
