"""Settings of sign-in: django-allauth is the engine; the pages and the rules are ours.

No address of allauth's is taken in as a whole: accounts.sign_in.urls names the ones that exist.
"""

from datetime import timedelta

from drservice.settings import env
from drservice.settings.directory import openid_connect

# Which second factors there are, and which of them may stand alone: a passkey that has checked its
# owner (a finger, a face, a PIN) is two factors in one.
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ADAPTER = "accounts.sign_in.adapters.MFAAdapter"
MFA_FORMS = {
    "authenticate": "accounts.sign_in.forms.SecondFactorForm",
    "reauthenticate": "accounts.sign_in.forms.SecondFactorAgainForm",
    "activate_totp": "accounts.sign_in.forms.AppAddForm",
    "authenticate_webauthn": "accounts.sign_in.forms.PasskeyForm",
    "login_webauthn": "accounts.sign_in.forms.PasskeyAloneForm",
    "reauthenticate_webauthn": "accounts.sign_in.forms.PasskeyAgainForm",
    "add_webauthn": "accounts.sign_in.forms.PasskeyAddForm",
    "edit_webauthn": "accounts.sign_in.forms.PasskeyRenameForm",
}
# A passkey can't be guessed; this only keeps one address from busying the server.
MFA_RATE_LIMITS = {"webauthn_login": "60/m/ip"}
MFA_TOTP_ISSUER = "DR Service"
# One step of 30 s to either side: telephones' clocks are not exact.
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODES_SHOW_ONCE = True
# Addresses are proven by the invitation; allauth keeps no list of its own of them here.
MFA_ALLOW_UNVERIFIED_EMAIL = True

ACCOUNT_ADAPTER = "accounts.sign_in.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "reauthenticate": "accounts.sign_in.forms.PasswordAgainForm",
    "reset_password": "accounts.sign_in.forms.PasswordResetAskForm",
    "reset_password_from_key": "accounts.sign_in.forms.PasswordResetForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "django.contrib.auth.tokens.PasswordResetTokenGenerator"  # noqa: S105
# A change to what protects an account asks again after so long.
ACCOUNT_REAUTHENTICATION_TIMEOUT = 5 * 60
ACCOUNT_RATE_LIMITS = {
    # Wrong codes are counted in accounts.sign_in.guesses; a passkey can't be guessed. allauth's own
    # count knows no addresses: who has somebody's password could shut them out at the next step.
    "login_failed": "",
    "reset_password": "30/h/ip,5/h/key",
    "reset_password_from_key": "30/m/ip",
}
PASSWORD_RESET_TIMEOUT = int(timedelta(hours=1).total_seconds())

SOCIALACCOUNT_ADAPTER = "accounts.sign_in.adapters.SocialAccountAdapter"
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_QUERY_EMAIL = True
SOCIALACCOUNT_REQUESTS_TIMEOUT = 5
OIDC_ISSUER = env.read("OIDC_ISSUER")
# What the sign-in page calls the directory; empty where none is set up.
OIDC_NAME = env.read("OIDC_NAME") if OIDC_ISSUER else ""
# Whose mail the directory may speak for; empty: everybody's but the operators'.
OIDC_DOMAINS = [domain.lower() for domain in env.read("OIDC_DOMAINS")]
OIDC_EMAILS_ARE_VERIFIED = env.read("OIDC_EMAILS_ARE_VERIFIED")
SOCIALACCOUNT_PROVIDERS = openid_connect() if OIDC_ISSUER else {}

# Mail goes out beside the answer; see accounts.sign_in.services.
MAIL_IN_BACKGROUND = True
MFA_FOR_OPERATORS = env.read("MFA_FOR_OPERATORS")
