"""An operator's round in a real browser: a new hospital, a promotion, health by itself."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from accounts.tests.factories import PASSWORD
from drservice.embedded.binaries import find_chromium
from drservice.embedded.ports import free_port
from drservice.operators.tests.factories import make_model_record
from drservice.testing.managed_process import ManagedProcess
from inference.champion_services import model_promote
from inference.selectors import champion_alias
from workspace.tests.factories import make_patient, make_queued_case

FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, TELEPHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def address(process_environment, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "drservice.asgi:application", "--port", str(port)]
    with ManagedProcess(
        [*command, "--timeout-graceful-shutdown", "1"],
        log=tmp_path / "web.log",
        environment=process_environment,
    ) as process:
        process.wait_for_url(f"http://127.0.0.1:{port}/accounts/sign-in/")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def browser(monkeypatch) -> Iterator[Browser]:
    # Playwright's loop runs in this thread; Django would take every query for an async mistake.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)


@pytest.fixture
def faults() -> list[str]:
    """Collect what the browser complains about: blocked styles, script errors, lost requests."""
    return []


def operators_page(browser: Browser, address: str, user, faults: list[str], **options) -> Page:
    page = browser.new_context(viewport=DESKTOP, **options).new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda said: said.type == "error" and faults.append(said.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{address}/")
    page.locator("[name=email]").fill(user.email)
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    return page


def assert_nothing_sticks_out(page: Page) -> None:
    page.set_viewport_size(TELEPHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE["width"], page.url
    page.set_viewport_size(DESKTOP)


def test_an_operators_round(browser, address, two_hospitals, faults):
    old, new = make_model_record("1"), make_model_record("2")
    model_promote(model=old)
    page = operators_page(browser, address, two_hospitals.operator, faults)
    expect(page.get_by_role("heading", name="Hospitals")).to_be_visible()
    assert_nothing_sticks_out(page)

    page.get_by_role("link", name="Add hospital").click()
    page.get_by_label("Name of the hospital").fill("Lake Clinic")
    page.get_by_label("Name of its first admin").fill("Ada Lake")
    page.get_by_label("E-mail of its first admin").fill("ada@lake.example")
    page.get_by_role("button", name="Add hospital and invite").click()
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="Close", exact=True).click()
    page.get_by_label("Reason").fill("Opened too early")
    page.get_by_role("button", name="Close the hospital").click()
    expect(page.get_by_text("Lake Clinic is closed.")).to_be_visible()
    assert_nothing_sticks_out(page)

    page.get_by_role("link", name="Models").click()
    assert_nothing_sticks_out(page)
    page.get_by_role("link", name=f"Promote {new.label}").click()
    assert_nothing_sticks_out(page)
    page.get_by_label("Reason").fill("Better on the second site")
    page.get_by_role("button", name="Make it the champion").click()
    expect(page.get_by_text(f"{new.label} is the champion.")).to_be_visible()
    assert champion_alias().model_id == new.pk
    assert faults == []


def test_health_asks_again_while_it_is_open(browser, address, two_hospitals, faults):
    page = operators_page(browser, address, two_hospitals.operator, faults)
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_text("No case waits, and none has failed.")).to_be_visible()
    assert_nothing_sticks_out(page)
    page.evaluate("window.notReloaded = true")
    make_queued_case(make_patient(two_hospitals.a.hospital))
    expect(page.get_by_role("link", name="Hospital A")).to_be_visible(timeout=15_000)
    assert page.evaluate("window.notReloaded") is True
    assert_nothing_sticks_out(page)
    assert faults == []


def test_the_round_needs_no_javascript(browser, address, two_hospitals, faults):
    page = operators_page(
        browser, address, two_hospitals.operator, faults, java_script_enabled=False
    )
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_text("No case waits, and none has failed.")).to_be_visible()
    page.get_by_role("link", name="Hospitals").click()
    page.get_by_label("Part of a hospital's name").fill("Hospital B")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Hospital B").click()
    page.get_by_role("link", name="Rules").click()
    page.get_by_label("second factor").check()
    page.get_by_label("Reason").fill("The hospital asked for it")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The rules are saved.")).to_be_visible()
    two_hospitals.b.hospital.refresh_from_db()
    assert two_hospitals.b.hospital.mfa_required
