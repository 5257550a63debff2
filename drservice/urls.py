"""Every address of the service. Each view carries its mark from accounts.access."""

from django.urls import include, path

urlpatterns = [
    path("accounts/", include("accounts.urls")),
    path("", include("workspace.urls")),
]
