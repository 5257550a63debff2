"""Hold docs/security.md true: every requirement once, every named test and heading there.

Test files are parsed, never imported; a parametrised test is named by its function.
"""

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from drservice.settings.env import BASE_DIR

PAGE = BASE_DIR / "docs" / "security.md"

# The sections of the ASVS 5.0.0 (OWASP, CC BY-SA 4.0), each with the level of every requirement
# in it: the line "1.2 1 1 2" stands for 1.2.1 and 1.2.2 of level 1, and 1.2.3 of level 2.
ASVS = """
1.1 2 2
1.2 1 1 1 1 1 2 2 2 2 3
1.3 1 1 2 2 2 2 2 2 2 2 2 3
1.4 2 2 2
1.5 1 2 3
2.1 1 2 2
2.2 1 1 2
2.3 1 2 2 2 3
2.4 2 3
3.1 3
3.2 1 1 3
3.3 1 2 2 2 3
3.4 1 1 2 2 2 2 3 3
3.5 1 1 1 2 2 3 3 3
3.6 3
3.7 2 2 3 3 3
4.1 1 2 2 3 3
4.2 2 3 3 3 3
4.3 2 2
4.4 1 2 2 2
5.1 2
5.2 1 1 2 3 3 3
5.3 1 1 3
5.4 2 2 2
6.1 1 2 2
6.2 1 1 1 1 1 1 1 1 2 2 2 2
6.3 1 1 2 2 3 3 3 3
6.4 1 1 2 2 3 3
6.5 2 2 2 2 2 3 3 3
6.6 2 2 2 3
6.7 3 3
6.8 2 2 2 2
7.1 2 2 2
7.2 1 1 1 1
7.3 2 2
7.4 1 1 2 2 2
7.5 2 2 3
7.6 2 2
8.1 1 2 3 3
8.2 1 1 2 3
8.3 1 3 3
8.4 2 3
9.1 1 1 1
9.2 1 2 2 2
10.1 2 2
10.2 2 2 3
10.3 2 2 2 2 3
10.4 1 1 1 1 1 2 2 2 2 2 2 3 3 3 3 3
10.5 2 2 2 2 2
10.6 2 2
10.7 2 2 2
11.1 2 2 3 3
11.2 2 2 2 3 3
11.3 1 1 2 3 3
11.4 1 2 2 2
11.5 2 3
11.6 2 3
11.7 3 3
12.1 1 2 2 3 3
12.2 1 1
12.3 2 2 2 2 3
13.1 2 3 3 3
13.2 2 2 2 2 2 3
13.3 2 2 3 3
13.4 1 2 2 2 2 3 3
14.1 2 2
14.2 1 2 2 2 3 3 3 3
14.3 1 2 2
15.1 1 2 2 3 3
15.2 1 2 2 3 3
15.3 1 2 2 2 2 2 2
15.4 3 3 3 3
16.1 2
16.2 2 2 2 2 2
16.3 2 2 2 2
16.4 2 2 2
16.5 2 2 2 3
17.1 2 3
17.2 2 2 2 2 3 3 3 3
17.3 2 2
"""

MET = "Met"
PARTLY, NOT_MET, DOES_NOT_APPLY, ELSEWHERE = (
    "Partly",
    "Not met",
    "Does not apply",
    "Whoever runs it",
)
STATES = (MET, PARTLY, NOT_MET, DOES_NOT_APPLY, ELSEWHERE)
STATE = re.compile(rf"({PARTLY}|{NOT_MET}|{DOES_NOT_APPLY}|{ELSEWHERE}): ?(.*)")
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \|(.*)\|$", re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
RULE = re.compile(r"\[rule\]\(([\w./-]*)#([\w-]+)\)")
SUM = re.compile(rf"^\| ({'|'.join(STATES)}) \| (\d+) \|", re.MULTILINE)
# What a cell of proofs may hold; the sign alone says that there is none.
NO_PROOF = "-"
PROOFS = re.compile(rf"{NO_PROOF}|(?:(?:{TEST.pattern}|{RULE.pattern})(?:, |$))+")


@dataclass(frozen=True)
class Entry:
    """One row of the page."""

    id: str
    level: str
    asks: str
    how: str
    proofs: str

    @property
    def state(self) -> str:
        marked = STATE.match(self.how)
        return marked.group(1) if marked else MET

    @property
    def reason(self) -> str:
        """Return what the row says beyond its state."""
        marked = STATE.match(self.how)
        return marked.group(2) if marked else self.how

    @property
    def fault(self) -> str:
        """Say what is wrong with the row by itself; empty when nothing is."""
        if not self.asks or not self.reason:
            return "an entry is empty"
        if not PROOFS.fullmatch(self.proofs):
            return f"these are no proofs: {self.proofs!r}"
        if self.state in (MET, PARTLY) and self.proofs == NO_PROOF:
            return "it claims something and proves nothing"
        return ""


def read_entries(text: str) -> list[Entry]:
    rows = ((found.group(1), found.group(2).split(" | ")) for found in ROW.finditer(text))
    return [Entry(id, *(cell.strip() for cell in cells)) for id, cells in rows]


def required() -> dict[str, str]:
    """Return the level of every requirement of level 1 and 2 by its number."""
    levels = {}
    for line in ASVS.split("\n"):
        section, *numbers = line.split() or [""]
        levels |= {f"{section}.{place}": level for place, level in enumerate(numbers, start=1)}
    return {number: level for number, level in levels.items() if level in "12"}


@cache
def functions_of(path: Path) -> frozenset[str]:
    """Return the names of a file's functions without running any of it."""
    tree = ast.parse(path.read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def headings_of(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as readers of Markdown make them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


ENTRIES = read_entries(PAGE.read_text())


def test_list_of_requirements_is_whole():
    """The standard's own sums: 345 requirements, 70 of level 1, 183 of level 2."""
    numbers = [number for line in ASVS.split("\n") for number in line.split()[1:]]
    assert Counter(numbers) == {"1": 70, "2": 183, "3": 92}
    assert len(required()) == 253


def test_every_requirement_stands_on_the_page_once():
    named = Counter(entry.id for entry in ENTRIES)
    assert not required().keys() - named.keys(), "missing"
    assert not named.keys() - required().keys(), "no requirement of level 1 or 2"
    assert not [number for number, times in named.items() if times > 1], "twice"
    assert {entry.id: entry.level for entry in ENTRIES} == required()


def test_no_entry_is_empty_and_no_claim_without_proof():
    assert not [f"{entry.id}: {entry.fault}" for entry in ENTRIES if entry.fault]


def test_every_named_test_exists():
    gone = [
        f"{entry.id}: {path}::{name}"
        for entry in ENTRIES
        for path, name in TEST.findall(entry.proofs)
        if not (BASE_DIR / path).is_file() or name not in functions_of(BASE_DIR / path)
    ]
    assert not gone, "renamed or removed: name what proves it now in docs/security.md\n" + (
        "\n".join(gone)
    )


def test_every_named_rule_has_its_heading():
    gone = [
        f"{entry.id}: {path}#{anchor}"
        for entry in ENTRIES
        for path, anchor in RULE.findall(entry.proofs)
        if anchor not in headings_of(PAGE.parent / path if path else PAGE)
    ]
    assert not gone


def test_sums_are_right():
    counted = Counter(entry.state for entry in ENTRIES)
    told = {state: int(number) for state, number in SUM.findall(PAGE.read_text())}
    assert told == {state: counted[state] for state in STATES}


ROW_OF = "| 1.1.1 | 2 | asks for something | {} | {} |"
A_TEST = "`drservice/tests/test_security_map.py::test_sums_are_right`"


@pytest.mark.parametrize(
    ("how", "proofs", "fault"),
    [
        ("Met by this", A_TEST, ""),
        ("Met by this", "-", "proves nothing"),
        ("Partly: most of it", "-", "proves nothing"),
        ("Not met: nobody did it", "-", ""),
        ("Not met: ", A_TEST, "empty"),
        ("", A_TEST, "empty"),
        ("Met by this", "the tests", "no proofs"),
        ("Met by this", "", "no proofs"),
        ("Met by this", f"{A_TEST}, [rule](#sessions)", ""),
    ],
)
def test_row_that_claims_too_much_is_caught(how, proofs, fault):
    [entry] = read_entries(ROW_OF.format(how, proofs))
    assert fault in entry.fault
    assert bool(entry.fault) == bool(fault)


def test_test_that_is_gone_is_caught():
    assert "test_sums_are_right" in functions_of(Path(__file__))
    assert "test_that_never_was" not in functions_of(Path(__file__))
