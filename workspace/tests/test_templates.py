"""Pages need nothing from elsewhere and nothing inline: clinics are offline, the policy strict."""

import re
from pathlib import Path

import pytest
from django.conf import settings

from workspace.templatetags.case_words import percent

TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
ASSETS = sorted(
    path for path in (settings.BASE_DIR / "static").rglob("*") if path.suffix in (".css", ".js")
)
INLINE = re.compile(
    r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)|hx-on|hx-vals=.js"
)
ELSEWHERE = re.compile(r"""(?:src|href|action|url\(|@import)\s*[=(]?\s*["']?(?:https?:)?//""")


def place(path: Path) -> str:
    return str(path.relative_to(settings.BASE_DIR))


@pytest.mark.parametrize("path", TEMPLATES, ids=place)
def test_template_holds_no_inline_script_or_style_and_no_foreign_address(path):
    text = path.read_text()

    assert INLINE.findall(text) == []
    assert ELSEWHERE.findall(text) == []


@pytest.mark.parametrize("path", ASSETS, ids=place)
def test_asset_loads_nothing_from_elsewhere(path):
    text = path.read_text()

    assert ELSEWHERE.findall(text) == []
    assert "sourceMappingURL" not in text


def test_vendored_versions_stand_in_the_paths_that_the_base_template_names():
    base = (settings.BASE_DIR / "templates" / "base.html").read_text()
    vendored = re.findall(r"vendor/([\w.-]+)/", base)

    assert vendored
    for folder in vendored:
        assert re.search(r"-\d+\.\d+\.\d+$", folder)
        assert (settings.BASE_DIR / "static" / "vendor" / folder / "LICENSE").is_file()


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (None, "not known"),
        (0.0, "under 1 %"),
        (0.01, "1 %"),
        (0.126, "13 %"),
        (0.99, "99 %"),
        (0.9996, "over 99 %"),
    ],
)
def test_percent_never_claims_certainty(probability, words):
    assert percent(probability) == words


def channel(value: int) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    red, green, blue = (channel(int(digits[place : place + 2], 16)) for place in (0, 2, 4))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


TEXT_ON_GROUND = [
    *[(ink, ground) for ink in ("ink", "ink-soft", "accent") for ground in ("ground", "surface")],
    *[(tone, f"{tone}-soft") for tone in ("ok", "mild", "warn", "urgent", "severe", "calm")],
    *[(tone, "surface") for tone in ("ok", "mild", "warn", "urgent", "severe", "calm")],
    ("accent", "accent-soft"),
    ("ink-soft", "warn-soft"),
]


@pytest.mark.parametrize(("text", "ground"), TEXT_ON_GROUND)
def test_text_stands_out_from_its_ground_as_wcag_aa_asks(text, ground):
    css = (settings.BASE_DIR / "static" / "css" / "drservice.css").read_text()
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", css))

    darker, lighter = sorted(luminance(colours[name]) for name in (text, ground))

    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
