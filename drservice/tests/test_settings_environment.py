"""The environment is read in one place, and its errors and its document say what to do."""

import os
import re
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from drservice.settings import env

SETTINGS_DOCUMENT = env.BASE_DIR / "docs" / "settings.md"

# Read by name outside env.py, and why: Django's own choice of a settings module.
READ_ELSEWHERE = {"DJANGO_SETTINGS_MODULE"}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ALLOWED_HOSTS", " a.example, b.example ,", ["a.example", "b.example"]),
        ("UPLOAD_MAX_MB", "12", 12),
        ("VAR_DIR", "/srv/drservice", Path("/srv/drservice")),
        ("MONGODB_URI", "mongodb+srv://db.example/x", "mongodb+srv://db.example/x"),
        ("REDIS_URL", "rediss://cache.example:6380/1", "rediss://cache.example:6380/1"),
    ],
)
def test_variable_is_parsed_to_its_type(name, text, value):
    assert env.read(name, {name: text}) == value


@pytest.mark.parametrize("name", env.VARIABLES)
def test_variable_that_is_unset_or_empty_has_its_default(name):
    assert env.read(name, {}) == env.VARIABLES[name].default
    assert env.read(name, {name: ""}) == env.VARIABLES[name].default


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("UPLOAD_MAX_MB", "thirty", "invalid literal"),
        ("UPLOAD_MAX_MB", "-1", "whole number above 0"),
        ("GRADING_LEASE_S", "0", "whole number above 0"),
        ("GRADING_LEASE_S", "1.5", "invalid literal"),
        ("MONGODB_URI", "localhost:27017", "mongodb://"),
        ("REDIS_URL", "http://localhost", "redis://"),
    ],
)
def test_wrong_value_names_the_variable_the_fault_and_the_cure(name, text, wrong):
    with pytest.raises(ImproperlyConfigured) as raised:
        env.read(name, {name: text})
    message = str(raised.value)
    assert name in message
    assert wrong in message
    assert env.VARIABLES[name].meaning in message
    assert "Correct it, or unset it" in message


def test_wrong_value_is_not_repeated():
    """An address may hold a password, and this message goes to a log."""
    with pytest.raises(ImproperlyConfigured) as raised:
        env.read("MONGODB_URI", {"MONGODB_URI": "user:hush@db.example"})
    assert "hush" not in str(raised.value)


def test_switch_is_1_or_0():
    assert [env.to_bool(text) for text in ("1", "TRUE", "yes", "0", "false", "No")] == [
        True
    ] * 3 + [False] * 3
    with pytest.raises(ValueError, match="must be 1 or 0"):
        env.to_bool("perhaps")


def test_document_lists_every_variable():
    written = re.findall(r"^\| `.*$", SETTINGS_DOCUMENT.read_text(), re.MULTILINE)
    wanted = [_line(variable) for variable in env.VARIABLES.values()]
    assert written == wanted, "docs/settings.md needs these lines:\n" + "\n".join(wanted)


def _line(variable: env.Variable) -> str:
    return f"| `{variable.name}` | {_default(variable.default)} | {variable.meaning} |"


def _default(default: object) -> str:
    if default in ("", [], None):
        return ""
    if isinstance(default, Path):
        return f"`{os.path.relpath(default, env.BASE_DIR)}`"
    return f"`{default}`"


def test_nothing_but_env_reads_the_environment():
    """Tests, the embedded servers' switches and the supervisor's children pass it on; no more."""
    reading = re.compile(r"os\.(?:environ\[|environ\.get\(|getenv\()\s*[\"'](\w+)")
    found = {
        (path.relative_to(env.BASE_DIR).as_posix(), name)
        for package in ("drservice", "accounts", "workspace", "inference", "training")
        for path in (env.BASE_DIR / package).rglob("*.py")
        if not {"tests", "testing"} & set(path.parts)
        for name in reading.findall(path.read_text())
        if name not in READ_ELSEWHERE
    }
    assert found == set()
