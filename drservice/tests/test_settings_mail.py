"""One address says where mail goes, and never shows its password in an error."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import get_connection

from drservice.settings import env
from drservice.settings.mail import mail_settings, to_email_url

VAR_DIR = Path("/srv/var")


def backend_of(url: str) -> str:
    return mail_settings(url, VAR_DIR)["EMAIL_BACKEND"].split(".")[-2]


def test_mail_server_is_read_from_one_address():
    read = mail_settings("smtp://ward%40lake:p%2Fw@mail.example", VAR_DIR)
    assert (read["EMAIL_HOST"], read["EMAIL_PORT"]) == ("mail.example", 587)
    assert (read["EMAIL_HOST_USER"], read["EMAIL_HOST_PASSWORD"]) == ("ward@lake", "p/w")
    assert (read["EMAIL_USE_TLS"], read["EMAIL_USE_SSL"]) == (True, False)
    assert read["EMAIL_TIMEOUT"] > 0
    assert read["MAIL_REACHES_PEOPLE"]


def test_mail_server_may_speak_tls_at_once_or_never():
    at_once = mail_settings("smtps://mail.example", VAR_DIR)
    never = mail_settings("smtp://127.0.0.1:25?tls=0", VAR_DIR)
    assert (at_once["EMAIL_PORT"], at_once["EMAIL_USE_SSL"]) == (465, True)
    assert (never["EMAIL_PORT"], never["EMAIL_USE_TLS"]) == (25, False)
    # Django refuses both kinds of TLS at once.
    assert not at_once["EMAIL_USE_TLS"]


def test_mail_that_reaches_nobody_says_so():
    assert [backend_of(url) for url in ("file:", "console:", "")] == [
        "filebased",
        "console",
        "dummy",
    ]
    assert not any(
        mail_settings(url, VAR_DIR)["MAIL_REACHES_PEOPLE"] for url in ("file:", "console:", "")
    )
    assert mail_settings("file:", VAR_DIR)["EMAIL_FILE_PATH"] == VAR_DIR / "mail"


@pytest.mark.parametrize("url", ["smtp://a.example", "smtps://a.example", "file:", "console:", ""])
def test_every_address_makes_a_backend_that_exists(url, settings, tmp_path):
    for name, value in mail_settings(url, tmp_path).items():
        setattr(settings, name, value)
    assert get_connection().__class__.__module__ == settings.EMAIL_BACKEND.rpartition(".")[0]


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("mail.example", "must start with smtp://"),
        ("imap://user:hush@mail.example", "must start with smtp://"),
        ("smtp://mail.example:hush", "as its port"),
        ("smtp://", "must name a mail server"),
        ("smtp://mail.example?starttls=1", "?tls=0 and nothing else"),
    ],
)
def test_wrong_address_says_what_is_wrong_but_not_the_password(url, wrong):
    with pytest.raises(ValueError, match="must|may") as raised:
        to_email_url(url)
    assert wrong in str(raised.value)
    with pytest.raises(ImproperlyConfigured) as raised:
        env.read("EMAIL_URL", {"EMAIL_URL": url})
    assert "hush" not in str(raised.value)
