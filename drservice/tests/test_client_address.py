"""Whose address counts: the one that a trusted proxy saw, never one that a caller claims."""

import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from drservice.common.client_address import ClientAddressMiddleware, client_address

PROXY, CALLER, CLAIM = "10.0.0.1", "198.51.100.7", "203.0.113.9"


@pytest.mark.parametrize(
    ("forwarded", "proxies", "found"),
    [
        ("", 0, PROXY),
        (CLAIM, 0, PROXY),
        (CALLER, 1, CALLER),
        (f"{CLAIM}, {CALLER}", 1, CALLER),
        (f"{CLAIM},{CALLER},10.0.0.2", 2, CALLER),
        (CLAIM, 2, PROXY),
        ("", 1, PROXY),
        ("unknown", 1, PROXY),
        (f"{CALLER}:4711", 1, PROXY),
        (f"{CLAIM}, <script>", 1, PROXY),
        ("2001:DB8::1", 1, "2001:db8::1"),
    ],
)
def test_address_is_the_one_that_the_outermost_trusted_proxy_saw(forwarded, proxies, found):
    assert client_address(PROXY, forwarded, proxies) == found


@override_settings(TRUSTED_PROXIES=1)
def test_everything_behind_reads_the_callers_address():
    seen = []
    middleware = ClientAddressMiddleware(
        lambda request: seen.append(request.META["REMOTE_ADDR"]) or HttpResponse()
    )
    headers = {"X-Forwarded-For": f"{CLAIM}, {CALLER}", "X-Real-IP": CLAIM, "Forwarded": CLAIM}
    middleware(RequestFactory().get("/", headers=headers, REMOTE_ADDR=PROXY))
    assert seen == [CALLER]
