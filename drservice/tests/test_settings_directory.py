"""A directory is set up whole or not at all, and its secret is never repeated."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from drservice.settings import directory, env

GOOD = {
    "OIDC_ISSUER": "https://id.example",
    "OIDC_CLIENT_ID": "drservice",
    "OIDC_CLIENT_SECRET": "hush",
    "OIDC_NAME": "Lakeside",
}


@pytest.fixture
def environment(monkeypatch):
    """Set variables for `openid_connect` to read."""
    read = env.read

    def set_to(**changed) -> None:
        variables = {**GOOD, **changed}
        monkeypatch.setattr(directory.env, "read", lambda name: read(name, variables))

    return set_to


def test_provider_is_read_from_the_environment(environment):
    environment()
    [app] = directory.openid_connect()["openid_connect"]["APPS"]
    assert app["client_id"] == "drservice"
    assert app["secret"] == "hush"
    assert app["settings"] == {"server_url": "https://id.example", "oauth_pkce_enabled": True}


def test_secret_may_stand_in_a_file(environment, tmp_path):
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    environment(OIDC_CLIENT_SECRET="", OIDC_CLIENT_SECRET_FILE=str(file))
    assert directory.openid_connect()["openid_connect"]["APPS"][0]["secret"] == "from a file"


@pytest.mark.parametrize(
    ("changed", "cure"),
    [
        ({"OIDC_CLIENT_ID": ""}, "OIDC_CLIENT_ID is not set"),
        ({"OIDC_CLIENT_SECRET": ""}, "Set either OIDC_CLIENT_SECRET or OIDC_CLIENT_SECRET_FILE"),
        ({"OIDC_CLIENT_SECRET_FILE": "/run/secrets/oidc"}, "and not both"),
        (
            {"OIDC_CLIENT_SECRET": "", "OIDC_CLIENT_SECRET_FILE": "/no/such/file"},
            "can't be read (FileNotFoundError)",
        ),
    ],
)
def test_half_a_set_up_names_its_cure(environment, changed, cure):
    environment(**changed)
    with pytest.raises(ImproperlyConfigured) as raised:
        directory.openid_connect()
    assert cure in str(raised.value)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["http://id.example", "id.example", "http://localhost.evil.example"]
)
def test_provider_is_asked_over_https_only(text):
    with pytest.raises(ImproperlyConfigured, match="must start with https://"):
        env.read("OIDC_ISSUER", {"OIDC_ISSUER": text})
