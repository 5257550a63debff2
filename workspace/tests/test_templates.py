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
