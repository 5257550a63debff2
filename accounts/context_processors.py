"""What every page may say about the caller."""

from django.http import HttpRequest


def membership(request: HttpRequest) -> dict:
    """Add the active membership, all memberships, the hospital, and `can.<capability>`."""
    current = getattr(request, "membership", None)
    return {
        "membership": current,
        "memberships": getattr(request, "memberships", []),
        "hospital": current.hospital if current else None,
        "can": {capability.value: True for capability in current.capabilities} if current else {},
    }
