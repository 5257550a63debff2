"""Where mail goes: one address in EMAIL_URL becomes Django's EMAIL_ settings.

smtp://user:password@mail.example:587     plain at first, then STARTTLS; refused without it
smtps://user:password@mail.example:465    TLS from the first byte
smtp://127.0.0.1:25?tls=0                 a relay on this machine, without TLS
file:                                     one file a mail, under VAR_DIR/mail
console:                                  onto the log of the web process
"""

from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

SMTP_PORTS = {"smtp": 587, "smtps": 465}
BACKENDS = "django.core.mail.backends"
# A mail server that doesn't answer must not keep an admin waiting for long.
TIMEOUT_S = 10


def to_email_url(text: str) -> str:
    """Check an EMAIL_URL. Raises ValueError without repeating it: it may hold a password."""
    parts = urlsplit(text)
    if parts.scheme not in {*SMTP_PORTS, "file", "console"}:
        raise ValueError("must start with smtp://, smtps://, file: or console:")
    if parts.scheme in SMTP_PORTS and not parts.hostname:
        raise ValueError("must name a mail server, as in smtp://user:password@mail.example:587")
    if not _has_sane_port(parts):
        raise ValueError("must have a number from 1 to 65535 as its port, or none")
    if parse_qs(parts.query).keys() - {"tls"}:
        raise ValueError("may say ?tls=0 and nothing else after the mail server")
    return text


def mail_settings(url: str, var_dir: Path) -> dict:
    """Return the EMAIL_ settings for an address; without one, mail is made and thrown away.

    MAIL_REACHES_PEOPLE is False unless a mail server is named: pages then show the admin what
    would have been mailed.
    """
    parts = urlsplit(url)
    reaches = {"MAIL_REACHES_PEOPLE": parts.scheme in SMTP_PORTS}
    if parts.scheme in SMTP_PORTS:
        return {**reaches, **_smtp(parts)}
    if parts.scheme == "file":
        folder = {"EMAIL_FILE_PATH": var_dir / "mail"}
        return {**reaches, **folder, "EMAIL_BACKEND": f"{BACKENDS}.filebased.EmailBackend"}
    backend = "console" if parts.scheme == "console" else "dummy"
    return {**reaches, "EMAIL_BACKEND": f"{BACKENDS}.{backend}.EmailBackend"}


def _has_sane_port(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _smtp(parts: SplitResult) -> dict:
    tls = parse_qs(parts.query).get("tls", ["1"]) != ["0"]
    return {
        "EMAIL_BACKEND": f"{BACKENDS}.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or SMTP_PORTS[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp" and tls,
        "EMAIL_TIMEOUT": TIMEOUT_S,
    }
