"""The addresses of sign-in that carry the names by which django-allauth finds them.

None of allauth's own URL modules is included: what isn't here doesn't exist.
"""

from allauth.account import views as account
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from django.urls import path, re_path, reverse_lazy

from accounts.access import public, signed_in
from accounts.limits.middleware import above_limit, anybody
from accounts.sign_in.doors import (
    engine_view,
    has_proved_password,
    only_own_passkey,
    only_proven,
    only_with,
)
from accounts.sign_in.oidc import PROVIDER
from accounts.sign_in.views import entrance, oidc, security
from accounts.sign_in.views.factors import AppAddView, CodesRenewView, PasskeyAddView

FORM, PAGE = ("GET", "HEAD", "POST"), ("GET", "HEAD")
DIRECTORY = {"provider_id": PROVIDER}
TO_SECURITY = reverse_lazy("mfa_index")


def _entrance(view, methods=FORM):
    return engine_view(view, mark=public, methods=methods)


def _own(view, methods=FORM):
    return engine_view(view, mark=signed_in, methods=methods)


urlpatterns = [
    path("sign-in/", entrance.sign_in, name="account_login"),
    path(
        "sign-in/code/",
        above_limit(lets_in=has_proved_password)(_entrance(mfa.authenticate)),
        name="mfa_authenticate",
    ),
    # Nobody guesses a passkey; MFA_RATE_LIMITS keeps one address from busying the server with them.
    path(
        "sign-in/passkey/",
        above_limit(lets_in=anybody)(_entrance(webauthn.login_webauthn)),
        name="mfa_login_webauthn",
    ),
    path("sign-in/directory/", oidc.begin, DIRECTORY, name="openid_connect_login"),
    path("sign-in/directory/back/", oidc.complete, DIRECTORY, name="openid_connect_callback"),
    path("again/", _own(account.reauthenticate), name="account_reauthenticate"),
    path("again/code/", _own(mfa.reauthenticate), name="mfa_reauthenticate"),
    path(
        "again/passkey/", _own(webauthn.reauthenticate_webauthn), name="mfa_reauthenticate_webauthn"
    ),
    path("security/", security.security, name="mfa_index"),
    path("security/app/", _own(only_proven(AppAddView.as_view())), name="mfa_activate_totp"),
    path(
        "security/app/remove/",
        _own(only_with(totp.deactivate_totp, lambda factors: factors.app)),
        name="mfa_deactivate_totp",
    ),
    path(
        "security/codes/",
        _own(only_with(codes.view_recovery_codes, lambda factors: factors.codes_left), PAGE),
        name="mfa_view_recovery_codes",
    ),
    path(
        "security/codes/new/",
        _own(only_with(CodesRenewView.as_view(), bool)),
        name="mfa_generate_recovery_codes",
    ),
    path(
        "security/passkeys/add/",
        _own(only_proven(PasskeyAddView.as_view())),
        name="mfa_add_webauthn",
    ),
    path(
        "security/passkeys/<oid:pk>/",
        _own(only_own_passkey(webauthn.EditWebAuthnView.as_view(success_url=TO_SECURITY))),
        name="mfa_edit_webauthn",
    ),
    path(
        "security/passkeys/<oid:pk>/remove/",
        _own(only_own_passkey(webauthn.RemoveWebAuthnView.as_view(success_url=TO_SECURITY))),
        name="mfa_remove_webauthn",
    ),
    path("forgotten/", _entrance(account.password_reset), name="account_reset_password"),
    path(
        "forgotten/sent/",
        _entrance(account.password_reset_done, PAGE),
        name="account_reset_password_done",
    ),
    re_path(
        r"^forgotten/(?P<uidb36>[0-9a-f]{24})-(?P<key>.+)/$",
        _entrance(account.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    path(
        "forgotten/done/",
        _entrance(account.password_reset_from_key_done, PAGE),
        name="account_reset_password_from_key_done",
    ),
]
