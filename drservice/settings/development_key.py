"""A secret key for one checkout, made once and kept out of the repository."""

import os
import secrets
from pathlib import Path


def development_key(path: Path) -> str:
    """Return the key stored at `path`, making it first when there is none.

    Several processes may start at once: the first to create the file wins, the rest read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_urlsafe(64))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text()
