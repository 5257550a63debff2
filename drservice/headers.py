"""What every answer tells browsers beside what Django and the content policy tell them."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# Nothing here asks for a sensor, a payment or a place. Photographs come from a file chooser, which
# needs no leave, also where it opens a telephone's camera. Passkeys are asked for by our own pages.
REFUSED_FEATURES = (
    *("accelerometer", "autoplay", "camera", "display-capture", "encrypted-media"),
    *("fullscreen", "geolocation", "gyroscope", "magnetometer", "microphone", "midi"),
    *("payment", "picture-in-picture", "screen-wake-lock", "usb", "xr-spatial-tracking"),
)
OWN_FEATURES = ("publickey-credentials-create", "publickey-credentials-get")
PERMISSIONS = ", ".join(
    [
        *(f"{name}=()" for name in REFUSED_FEATURES),
        *(f"{name}=(self)" for name in OWN_FEATURES),
    ]
)


class HeadersMiddleware:
    """Let no other site embed an answer, no page use a sensor, and no cache keep what is silent.

    Whatever doesn't say how it may be kept is not kept: also errors, and pages before signing in.
    """

    def __init__(self, get_response: Callable) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        if not response.has_header("Cache-Control"):
            response.headers["Cache-Control"] = "no-store, private"
        return response
