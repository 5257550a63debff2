"""Every address of the service. Each view carries its mark from accounts.access."""

from django.urls import include, path

from drservice import health

handler400 = "drservice.errors.bad_request"

urlpatterns = [
    path("healthz", health.alive, name="alive"),
    path("readyz", health.ready, name="ready"),
    path("accounts/", include("accounts.urls")),
    path("operators/", include("drservice.operators.urls")),
    path("accounts/", include("accounts.sign_in.urls")),
    path("", include("workspace.urls")),
]
