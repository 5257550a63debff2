"""Use pages as people do: send a search form, and compare what two answers say."""

import re

TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="[^"]*"')


def searched(client, address: str, words: str, **filters: str):
    """Return the page to which a list's search form leads."""
    return client.post(address, {"words": words, **filters}, follow=True)


def body_without_token(response) -> bytes:
    """Return a page without the security token, which is new each time."""
    return TOKEN.sub(b"", response.content)
