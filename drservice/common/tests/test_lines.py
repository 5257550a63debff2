"""What is left of a name or a number when what nobody sees is taken out."""

import pytest

from drservice.common.lines import one_line


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("  Zoë\t O'Brien\n", "Zoë O'Brien"),
        ("Amara\u00a0Diallo\u2028", "Amara Diallo"),
        ("\u202eanoZ", "anoZ"),
        ("ZW\u200b-1\ufeff", "ZW-1"),
        ("Schmidt\u00adbauer", "Schmidtbauer"),
        ("a\x1b[31m\0b", "a[31mb"),
        ("\u200b \u2066\u2069", ""),
        ("\u200d", ""),
        # How it is written in Persian, and not without.
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0646",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0646",
        ),
        ("李小龍", "李小龍"),
    ],
)
def test_line_holds_what_people_see(written, line):
    assert one_line(written) == line
