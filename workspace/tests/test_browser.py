"""A nurse's visit in a real browser, from sign-in to a result that appears by itself."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.cache import cache
from playwright.sync_api import Browser, Page, expect, sync_playwright

from accounts.limits.services import quota_set
from accounts.scoping import hospital_scope
from accounts.tests.factories import PASSWORD
from drservice.embedded.ports import free_port
from drservice.testing.managed_process import ManagedProcess
from workspace.models import Case
from workspace.services import case_claim, case_complete
from workspace.tests.factories import make_result
from workspace.tests.pictures import picture_bytes
from workspace.views.images import UPLOADS

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MS = 10_000
REQUIRED = os.environ.get("REQUIRE_BROWSER") == "1"
DESKTOP, TELEPHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not CHROMIUM.exists() and not REQUIRED,
        reason=f"no {CHROMIUM}: install the chromium package to run the browser tests",
    ),
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
    assert CHROMIUM.exists(), f"REQUIRE_BROWSER=1, but there is no {CHROMIUM}"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)


@pytest.fixture
def faults() -> list[str]:
    """Collect what the browser complains about: blocked styles, script errors, lost requests."""
    return []


def new_page(browser: Browser, faults: list[str], **options) -> Page:
    page = browser.new_context(viewport=DESKTOP, **options).new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.on(
        "console",
        lambda message: message.type == "error" and faults.append(f"{page.url}: {message.text}"),
    )
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    return page


def sign_in(page: Page, address: str, user) -> None:
    page.goto(f"{address}/")
    page.locator("[name=email]").fill(user.email)
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def register_patient(page: Page) -> None:
    page.get_by_role("link", name="Patients").click()
    page.get_by_role("link", name="Register a patient").click()
    page.get_by_label("Medical record number").fill("N-7")
    page.get_by_label("Name").fill("Amara Diallo")
    page.get_by_label("Date of birth").fill("1961-04-02")
    page.get_by_role("button", name="Register").click()
    page.get_by_role("button", name="New visit").click()


def drop_files(page: Page, files: dict[str, bytes]) -> None:
    """Drop files on the page as a hand does."""
    transfer = page.evaluate_handle("() => new DataTransfer()")
    for name, content in files.items():
        page.evaluate(
            """([transfer, name, bytes]) => transfer.items.add(
                new File([new Uint8Array(bytes)], name, {type: "image/jpeg"}))""",
            [transfer, name, list(content)],
        )
    page.dispatch_event("#drop-zone", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("#drop-zone", "drop", {"dataTransfer": transfer})


def grade_the_case(hospital) -> None:
    with hospital_scope(hospital.pk):
        case = Case.objects.get()
    claimed = case_claim(case_pk=str(case.pk), worker="test")
    grades = {"OD": 0, "OS": 3}
    results = [make_result(image, grades[image.laterality]) for image in claimed.images]
    case_complete(case=claimed, results=results)


def assert_nothing_sticks_out(page: Page) -> None:
    page.set_viewport_size(TELEPHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE["width"], page.url
    page.set_viewport_size(DESKTOP)


def test_a_result_appears_on_the_open_page(browser, address, two_hospitals, faults):
    page = new_page(browser, faults)
    sign_in(page, address, two_hospitals.a.staff)
    expect(page.get_by_role("heading", name="Worklist")).to_be_visible()
    assert_nothing_sticks_out(page)
    register_patient(page)

    drop_files(page, {"a_right.jpg": picture_bytes(), "b.jpg": picture_bytes(), "c.jpg": b"text"})
    expect(page.get_by_text("This is not a photograph")).to_be_visible()
    unknown = page.locator(".unlabelled")
    expect(unknown).to_be_visible()
    expect(page.locator("#gaps")).to_contain_text("which eye it shows")
    assert_nothing_sticks_out(page)
    unknown.get_by_label("Eye").select_option("OS")
    expect(unknown).to_have_count(0)
    expect(page.locator("#gaps")).to_contain_text("Everything needed is there")

    page.get_by_label("Camera").fill("Canon CR-2")
    page.get_by_role("button", name="Submit for grading").click()
    expect(page.get_by_role("heading", name="Waiting to be graded")).to_be_visible()
    assert_nothing_sticks_out(page)
    page.evaluate("window.notReloaded = true")
    # The page itself looks every 20 s only: what comes sooner was pushed.
    grade_the_case(two_hospitals.a.hospital)

    expect(page.get_by_role("heading", name="Refer urgently")).to_be_visible(timeout=3000)
    expect(page.get_by_text("Severe non-proliferative retinopathy", exact=True)).to_be_visible()
    assert page.evaluate("window.notReloaded") is True
    assert page.locator("[sse-connect]").count() == 0
    assert_nothing_sticks_out(page)
    # The browser also notes the answer to the file that is no photograph; that one is meant.
    assert [fault for fault in faults if "status of 422" not in fault] == []


def test_who_was_signed_out_goes_on_where_they_were(browser, address, two_hospitals, faults):
    page = new_page(browser, faults)
    sign_in(page, address, two_hospitals.a.staff)
    register_patient(page)
    page.get_by_label("Notes").fill("Restless left eye")
    page.context.clear_cookies(name="sessionid")

    drop_files(page, {"a_right.jpg": picture_bytes(), "a_left.jpg": picture_bytes()})
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Sign in in a new tab").click()
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    sign_in(opened.value, address, two_hospitals.a.staff)
    expect(opened.value.get_by_role("heading", name="Worklist")).to_be_visible()
    page.evaluate("window.dispatchEvent(new Event('focus'))")

    expect(page.locator("#gaps")).to_contain_text("Everything needed is there")
    page.get_by_role("button", name="Submit for grading").click()
    expect(page.get_by_role("heading", name="Waiting to be graded")).to_be_visible()
    with hospital_scope(two_hospitals.a.hospital.pk):
        assert Case.objects.get().notes == "Restless left eye"
    assert faults == []


def test_what_may_not_be_added_yet_is_not_lost(browser, address, two_hospitals, faults):
    hospital, staff = two_hospitals.a.hospital, two_hospitals.a.staff
    page = new_page(browser, faults)
    sign_in(page, address, staff)
    register_patient(page)
    cache.set(f"rate:uploads:{staff.pk}", UPLOADS.most, 4)
    drop_files(page, {"a_right.jpg": picture_bytes()})
    expect(page.get_by_text("this one goes on in")).to_be_visible()
    expect(page.locator("#gaps")).not_to_contain_text("right eye", timeout=15_000)

    quota_set(hospital_id=hospital.pk, limits={"photographs_in_all": 1})
    drop_files(page, {"a_left.jpg": picture_bytes()})
    expect(page.get_by_text("room for photographs is used up")).to_be_visible()
    assert_nothing_sticks_out(page)
    quota_set(hospital_id=hospital.pk, limits={"photographs_in_all": 2})
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#gaps")).to_contain_text("Everything needed is there")
    assert [fault for fault in faults if not re.search("status of 4(29|22)", fault)] == []


def test_a_visit_needs_no_javascript(browser, address, two_hospitals, faults):
    page = new_page(browser, faults, java_script_enabled=False)
    sign_in(page, address, two_hospitals.a.staff)
    register_patient(page)

    files = [
        {"name": name, "mimeType": "image/jpeg", "buffer": picture_bytes()}
        for name in ("x_OD.jpg", "x_OS.jpg")
    ]
    page.locator("#files").set_input_files(files)
    page.locator("#drop-zone").get_by_role("button", name="Upload").click()
    page.get_by_role("button", name="Submit for grading").click()
    expect(page.get_by_role("heading", name="Waiting to be graded")).to_be_visible()
    grade_the_case(two_hospitals.a.hospital)
    page.get_by_role("link", name="Reload").click()

    expect(page.get_by_role("heading", name="Refer urgently")).to_be_visible()
