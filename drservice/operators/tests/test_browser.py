"""An operator's round in a real browser: a new hospital, a promotion, health by itself."""

import pytest
from playwright.sync_api import Browser, Page, expect

from drservice.operators.tests.factories import make_model_record
from inference.champion_services import model_promote
from inference.selectors import champion_alias
from workspace.tests.factories import make_patient, make_queued_case
from workspace.tests.test_browser import (
    address,
    assert_nothing_sticks_out,
    browser,
    faults,
    new_page,
    sign_in,
)

__all__ = ["address", "browser", "faults"]

# As templates/operators/health.html has it.
ASKS_AGAIN_MS = 10_000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
]


def operators_page(browser: Browser, address: str, user, faults: list[str], **options) -> Page:
    page = new_page(browser, faults, **options)
    sign_in(page, address, user)
    return page


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
    page.clock.install()
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_text("No case waits, and none has failed.")).to_be_visible()
    assert_nothing_sticks_out(page)
    page.evaluate("window.notReloaded = true")
    make_queued_case(make_patient(two_hospitals.a.hospital))
    page.clock.fast_forward(ASKS_AGAIN_MS)
    expect(page.get_by_role("link", name="Hospital A")).to_be_visible()
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
