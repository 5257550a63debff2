"""Hold the documents true: every path, command and decision that they name must exist."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if path.name != "CHANGELOG.md"
)
SOURCE_PATH = re.compile(
    r"`((?:accounts|benchmarks|docs|drservice|inference|templates|training|workspace)/[\w./-]*)`"
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)\)")
MAKE_TARGET = re.compile(r"(?:`|^)make (\w+)", re.MULTILINE)
MANAGE_COMMAND = re.compile(r"manage\.py ([a-z_]+)")


def named(pattern: re.Pattern) -> list:
    """Return one test parameter for everything that some document names."""
    return [
        pytest.param(document, name, id=f"{document.relative_to(ROOT)}:{name}")
        for document in DOCUMENTS
        for name in sorted(set(pattern.findall(document.read_text())))
    ]


@pytest.mark.parametrize(("document", "path"), named(SOURCE_PATH))
def test_source_path_exists(document, path):
    assert (ROOT / path).exists(), f"{document.name} names {path}, which is not there"


@pytest.mark.parametrize(("document", "target"), named(LINK))
def test_link_leads_somewhere(document, target):
    assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize(("document", "target"), named(MAKE_TARGET))
def test_make_target_exists(document, target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(("document", "command"), named(MANAGE_COMMAND))
def test_management_command_exists(document, command):
    assert command in get_commands()


def test_every_decision_is_listed():
    folder = ROOT / "docs" / "decisions"
    listed = set(LINK.findall((folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("*.md")} - {"README.md"}


def test_every_benchmark_is_described():
    described = (ROOT / "docs" / "benchmarks.md").read_text()
    benchmarks = {
        path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()
    }
    assert benchmarks == set(re.findall(r"python -m benchmarks\.(\w+)", described))


@pytest.mark.parametrize("folder", ["templates", "static"])
def test_pages_load_nothing_from_elsewhere(folder):
    loading = re.compile(r"""(?:src|href|action|url\()\s*=?\s*["'(]?\s*(?:https?:)?//[^\s"')]+""")
    texts = [
        path
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".html", ".css", ".js", ".svg"}
    ]
    found = {
        f"{path.relative_to(ROOT)}: {match}"
        for path in texts
        for match in loading.findall(path.read_text())
    }
    assert texts
    assert not found
