"""Ask an address on this machine whether anybody is there."""

import urllib.error
import urllib.request

TIMEOUT_S = 5


def answers(url: str) -> bool:
    """Tell whether a web server answers, whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):  # noqa: S310  (our own address)
            return True
    except urllib.error.HTTPError as answer:
        answer.close()
        return True
    except OSError:
        return False
