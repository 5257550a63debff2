"""Know a caller's network address behind the proxies that this service is told to trust.

Everything that counts, limits or keeps by address reads `REMOTE_ADDR`; here, once, it becomes the
caller's. Each trusted proxy adds to `X-Forwarded-For` the address that spoke to it, so the
caller's is as many places from the end as there are proxies. What stands before it is a claim.
"""

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class ClientAddressMiddleware:
    def __init__(self, get_response: Callable) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.META["REMOTE_ADDR"] = client_address(
            request.META.get("REMOTE_ADDR", ""),
            request.META.get("HTTP_X_FORWARDED_FOR", ""),
            settings.TRUSTED_PROXIES,
        )
        return self.get_response(request)


def client_address(spoken_from: str, forwarded: str, proxies: int) -> str:
    """Return the caller's address: the sender's own where no trusted proxy says another one."""
    said = [part.strip() for part in forwarded.split(",")] if forwarded else []
    if not 0 < proxies <= len(said):
        return spoken_from
    try:
        return str(ipaddress.ip_address(said[-proxies]))
    except ValueError:
        return spoken_from


def network_of(address: str) -> str:
    """Return what one household or server has: one address of version 4, a /64 of version 6."""
    try:
        if ipaddress.ip_address(address).version == 4:
            return address
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False))
