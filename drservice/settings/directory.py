"""Read which directory people may sign in through: an OpenID Connect provider."""

from django.core.exceptions import ImproperlyConfigured

from drservice.settings import env


def openid_connect() -> dict:
    """Return allauth's settings of the provider at OIDC_ISSUER.

    Raises ImproperlyConfigured when it lacks what goes with it, and never repeats the secret.
    """
    return {
        "openid_connect": {
            "APPS": [
                {
                    "provider_id": "oidc",
                    "name": env.read("OIDC_NAME"),
                    "client_id": _client_id(),
                    "secret": _secret(),
                    "settings": {
                        "server_url": env.read("OIDC_ISSUER"),
                        "oauth_pkce_enabled": True,
                    },
                }
            ]
        }
    }


def _client_id() -> str:
    client_id = env.read("OIDC_CLIENT_ID")
    if not client_id:
        raise ImproperlyConfigured(
            "OIDC_CLIENT_ID is not set, but OIDC_ISSUER is. Set it to the name under which the "
            "provider knows this service, or unset OIDC_ISSUER."
        )
    return client_id


def _secret() -> str:
    secret, file = env.read("OIDC_CLIENT_SECRET"), env.read("OIDC_CLIENT_SECRET_FILE")
    if bool(secret) == bool(file):
        raise ImproperlyConfigured(
            "Set either OIDC_CLIENT_SECRET or OIDC_CLIENT_SECRET_FILE, and not both: OIDC_ISSUER "
            "needs one."
        )
    if not file:
        return secret
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            f"OIDC_CLIENT_SECRET_FILE names {file}, which can't be read "
            f"({type(error).__name__}). Correct the path, or let the service's user read the file."
        ) from error
