"""Read the master keys that lock every hospital's keys, from MASTER_KEY or from a file."""

from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from drservice.settings import env

MIN_CHARACTERS = 43
MIN_DISTINCT_CHARACTERS = 10
MAKE_ONE = "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one."


def master_keys() -> list[str]:
    """Return the keys that are set, the current one first; none when neither variable is.

    Raises ImproperlyConfigured with the cure, and never repeats a key.
    """
    keys, file = env.read("MASTER_KEY"), env.read("MASTER_KEY_FILE")
    if keys and file:
        raise ImproperlyConfigured("MASTER_KEY and MASTER_KEY_FILE are both set. Unset one.")
    if file:
        keys = _keys_in(file)
    for place, key in enumerate(keys, start=1):
        _require_strong(key, place)
    return keys


def _keys_in(file: Path) -> list[str]:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            f"MASTER_KEY_FILE names {file}, which can't be read ({type(error).__name__}). Correct "
            "the path, or let the service's user read the file."
        ) from error
    keys = env.to_list(text.replace("\n", ","))
    if not keys:
        raise ImproperlyConfigured(
            f"MASTER_KEY_FILE names {file}, which holds no key. Write one into it: {MAKE_ONE}"
        )
    return keys


def _require_strong(key: str, place: int) -> None:
    if len(key) < MIN_CHARACTERS or len(set(key)) < MIN_DISTINCT_CHARACTERS:
        raise ImproperlyConfigured(
            f"Key {place} of the master keys is too weak: use {MIN_CHARACTERS} characters or more, "
            f"at random. {MAKE_ONE}"
        )
