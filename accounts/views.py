"""Signing in and out, and a hospital's people."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form whose security token is missing or old: say what to do, keep nothing."""
    return render(request, "accounts/csrf_failure.html", status=403)


def sign_in_locked(request: HttpRequest, credentials: dict, *args, **kwargs) -> HttpResponse:
    """Answer a sign-in after too many wrong passwords."""
    return render(request, "accounts/sign_in_locked.html", status=429)
