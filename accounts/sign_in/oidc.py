"""Signing in through the hospital's own directory, by OpenID Connect.

allauth does the exchange. Here it is made stricter: the ID token's signature is always checked,
both answers must be about the same person, and "verified" means the word true.
"""

import jwt
import requests
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from accounts.selectors import user_by_email

PROVIDER = "oidc"
# Signed with the provider's private key: nothing that a client's secret could also sign.
ALGORITHMS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}


class Unreachable(Exception):
    """The provider gave no answer, or none that can be read."""


class StrictAdapter(OpenIDConnectOAuth2Adapter):
    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, PROVIDER)
        self._subject = None

    @property
    def openid_config(self) -> dict:
        """Return what the provider says of itself, if it is the one that was set up."""
        told = super().openid_config
        wanted = self.get_provider().app.settings["server_url"]
        if str(told.get("issuer", "")).rstrip("/") != wanted.rstrip("/"):
            raise Unreachable("The provider at OIDC_ISSUER says that it is another one.")
        return told

    def complete_login(self, request: HttpRequest, app, token, **kwargs) -> SocialLogin:
        if not kwargs["response"].get("id_token"):
            raise OAuth2Error("The provider sent no ID token.")
        try:
            return super().complete_login(request, app, token, **kwargs)
        except (KeyError, TypeError, ValueError) as error:
            raise OAuth2Error("The provider's answer can't be read.") from error

    def _fetch_user_info(self, access_token: str) -> dict:
        claims = _with_plain_truth(super()._fetch_user_info(access_token))
        self._subject = claims["sub"]
        return claims

    def _decode_id_token(self, app, id_token: str) -> dict:
        if jwt.get_unverified_header(id_token).get("alg") not in ALGORITHMS:
            raise OAuth2Error("The ID token is signed in a way that is not taken.")
        # allauth leaves the signature unchecked when it fetched the token by itself.
        self.did_fetch_access_token = False
        claims = super()._decode_id_token(app, id_token)
        if claims["sub"] != self._subject:
            raise OAuth2Error("The provider's two answers are about different people.")
        return _with_plain_truth(claims)


def oidc_begin(request: HttpRequest) -> HttpResponse:
    """Lead to the provider. Raises Unreachable."""
    return _asked(request, OAuth2LoginView)


def oidc_complete(request: HttpRequest) -> HttpResponse:
    """Take what the provider sent a person back with. Raises Unreachable."""
    return _asked(request, OAuth2CallbackView)


def person_behind(login: SocialLogin) -> User | None:
    """Return whom the provider's verified e-mail belongs to here, if anybody."""
    for address in login.email_addresses:
        verified = address.verified or settings.OIDC_EMAILS_ARE_VERIFIED
        if verified and _is_vouched_for(address.email):
            return user_by_email(address.email)
    return None


def may_use_directory(user: User) -> bool:
    """Tell whether a directory may open somebody's account: one hospital's must not run them all.

    Also for accounts that are linked already, so that a narrower setting counts at once.
    """
    return not user.is_operator and _is_vouched_for(user.email)


def _is_vouched_for(email: str) -> bool:
    domain = email.rpartition("@")[2].lower()
    return not settings.OIDC_DOMAINS or domain in settings.OIDC_DOMAINS


def _asked(request: HttpRequest, view: type) -> HttpResponse:
    try:
        return view.adapter_view(StrictAdapter(request))(request)
    except (requests.RequestException, KeyError) as error:
        raise Unreachable from error


def _with_plain_truth(claims: dict) -> dict:
    # Some providers write "true", and then also "false", which is as true as any other text.
    verified = claims.get("email_verified") in (True, "true")
    return {**claims, "email_verified": verified}
