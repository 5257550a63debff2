"""Settings that every environment shares; dev, test and prod are short lists of differences."""

from drservice.embedded import running_urls
from drservice.settings import env
from drservice.settings.celery import *  # noqa: F403
from drservice.settings.mail import mail_settings
from drservice.settings.master_keys import master_keys
from drservice.settings.sign_in import *  # noqa: F403

BASE_DIR = env.BASE_DIR
VAR_DIR = env.read("VAR_DIR")
TRAINING_DATA = env.read("TRAINING_DATA")
SECRET_KEY = env.read("SECRET_KEY")
MASTER_KEYS = master_keys()
ALLOWED_HOSTS = env.read("ALLOWED_HOSTS")
TRUSTED_PROXIES = env.read("TRUSTED_PROXIES") or 0
CSRF_TRUSTED_ORIGINS = env.read("CSRF_TRUSTED_ORIGINS")
DEBUG = False

INSTALLED_APPS = [
    "drservice.common.apps.CommonConfig",
    "accounts.apps.AccountsConfig",
    "accounts.keys.apps.KeysConfig",
    "accounts.audit.apps.AuditConfig",
    "accounts.limits.apps.LimitsConfig",
    "workspace.apps.WorkspaceConfig",
    "inference.apps.InferenceConfig",
    "training.apps.TrainingConfig",
    "drservice.supervisor.apps.SupervisorConfig",
    "drservice.common.apps.MongoAuthConfig",
    "drservice.common.apps.MongoContentTypesConfig",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",
    "django_mongodb_backend",
    "drservice.common.apps.MongoAxesConfig",
    "drservice.common.apps.MongoAccountConfig",
    "drservice.common.apps.MongoMFAConfig",
    "drservice.common.apps.MongoSocialAccountConfig",
    "drservice.common.apps.MongoUserSessionsConfig",
    "allauth.socialaccount.providers.openid_connect",
    "crispy_forms",
    "crispy_bootstrap5",
    "csp",
    "django_htmx",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "drservice.headers.HeadersMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "drservice.common.client_address.ClientAddressMiddleware",
    "drservice.health.ProbeMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.limits.middleware.AttemptLimitMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "accounts.middleware.SessionLimitMiddleware",
    "accounts.middleware.HospitalScopeMiddleware",
    "accounts.audit.middleware.AuditMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.sign_in.middleware.SessionListMiddleware",
    "accounts.sign_in.middleware.SecondFactorMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "drservice.urls"
ASGI_APPLICATION = "drservice.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context_processors.membership",
            ]
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
CRISPY_ALLOWED_TEMPLATE_PACKS = "bootstrap5"
CRISPY_TEMPLATE_PACK = "bootstrap5"

# Where the records are. Unset: the embedded mongod and redis that `manage.py serve` started,
# found through var/; the addresses of a real deployment always come from the environment.
_RUNNING = running_urls(VAR_DIR) or {}
MONGODB_URI = env.read("MONGODB_URI") or _RUNNING.get("MONGODB_URI", "mongodb://127.0.0.1:27017")
REDIS_URL = env.read("REDIS_URL") or _RUNNING.get("REDIS_URL", "redis://127.0.0.1:6379/0")
CELERY_BROKER_URL = REDIS_URL

DATABASES = {
    "default": {
        "ENGINE": "django_mongodb_backend",
        "HOST": MONGODB_URI,
        "NAME": env.read("MONGODB_DATABASE"),
        "OPTIONS": {
            # A write counts as done only when a majority has it on disk: a case that the nurse
            # saw accepted survives the loss of any one node.
            "w": "majority",
            "journal": True,
            "retryWrites": True,
            "serverSelectionTimeoutMS": 5000,
            "tz_aware": False,
            "appname": "drservice",
        },
    }
}
DATABASE_ROUTERS = ["django_mongodb_backend.routers.MongoRouter"]
DEFAULT_AUTO_FIELD = "django_mongodb_backend.fields.ObjectIdAutoField"
# Contrib apps ship migrations for integer keys; ours are the same tables with ObjectIds.
MIGRATION_MODULES = {
    "account": "drservice.common.mongo_migrations.account",
    "axes": "drservice.common.mongo_migrations.axes",
    "auth": "drservice.common.mongo_migrations.auth",
    "contenttypes": "drservice.common.mongo_migrations.contenttypes",
    "mfa": "drservice.common.mongo_migrations.mfa",
    "socialaccount": "drservice.common.mongo_migrations.socialaccount",
    "usersessions": "drservice.common.mongo_migrations.usersessions",
}

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    }
}

STORAGES = {
    "default": {"BACKEND": env.read("IMAGE_STORAGE")},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = VAR_DIR / "static"
WHITENOISE_MIMETYPES = {".svg": "image/svg+xml; charset=utf-8"}

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("name", "email")},
    },
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "accounts.sign_in.passwords.DressedUpPasswordValidator"},
    {"NAME": "accounts.sign_in.passwords.NamesInPasswordValidator"},
]
# Forms that anybody may send who hasn't signed in: counted for each address.
ATTEMPT_DOORS = frozenset(
    {
        "accounts:sign-in",
        "accounts:invitation",
        "accounts:invitation-sign-out",
        "account_login",
        "mfa_authenticate",
        "mfa_login_webauthn",
        "account_reset_password",
        "account_reset_password_from_key",
    }
)
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "accounts:start"
LOGOUT_REDIRECT_URL = "accounts:sign-in"

# Attempts are counted in Redis: no table, and a wiped Redis only forgives.
AXES_HANDLER = "axes.handlers.cache.AxesCacheHandler"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "accounts.sign_in.guesses.network_behind"
AXES_USERNAME_FORM_FIELD = "email"
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "accounts.sign_in.views.entrance.sign_in_locked"
AXES_VERBOSE = False

globals().update(mail_settings(env.read("EMAIL_URL"), VAR_DIR))
DEFAULT_FROM_EMAIL = env.read("EMAIL_FROM")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
EMAIL_SUBJECT_PREFIX = ""
INVITATION_DAYS = env.read("INVITATION_DAYS")
INVITATION_KEEP_DAYS = env.read("INVITATION_KEEP_DAYS")

# Signed out after so long without a click, and after so long in any case.
SESSION_IDLE_S = 15 * 60
SESSION_COOKIE_AGE = 12 * 3600
SESSION_SERIALIZER = "drservice.common.sessions.SessionSerializer"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
# What a message says may name a person: it stays on this side, and no cookie holds it.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CSRF_FAILURE_VIEW = "accounts.views.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "manifest-src": ["'self'"],
    }
}

UPLOAD_MAX_BYTES = env.read("UPLOAD_MAX_MB") * 1_000_000
# A form without JavaScript sends several photographs at once; pages with it send one at a time.
UPLOAD_REQUEST_BYTES = 10 * UPLOAD_MAX_BYTES
QUOTA_PHOTOGRAPHS_A_DAY = env.read("QUOTA_PHOTOGRAPHS_A_DAY")
QUOTA_BYTES = env.read("QUOTA_GB") * 1024**3
UPLOAD_MAX_PIXELS = env.read("UPLOAD_MAX_MEGAPIXELS") * 1_000_000
DATA_UPLOAD_MAX_NUMBER_FILES = 40
DATA_UPLOAD_MAX_NUMBER_FIELDS = 300
FILE_UPLOAD_MAX_MEMORY_SIZE = 2_500_000

INFERENCE_DEVICE = env.read("INFERENCE_DEVICE")
INFERENCE_PRECISION = env.read("INFERENCE_PRECISION")
INFERENCE_BATCH_SIZE = env.read("INFERENCE_BATCH_SIZE")
GRADING_LEASE_S = env.read("GRADING_LEASE_S")
GRADING_LIMIT_S = env.read("GRADING_LIMIT_S")
GRADING_MAX_ATTEMPTS = env.read("GRADING_MAX_ATTEMPTS")
GRADING_HINT_S = env.read("GRADING_HINT_S")

LANGUAGE_CODE = "en"
TIME_ZONE = env.read("TIME_ZONE")
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "drservice.common.log_lines.LineFormatter"}},
    "filters": {"routes": {"()": "drservice.common.log_lines.RouteFilter"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["routes"]}
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        # Says less about failed sign-ins than our own events do.
        "axes": {"level": "ERROR"},
        # The server's own words, in the same form.
        "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        # Its list of requests would say, outside of the audit trail, who looked at whose record,
        # and hold the links that were mailed. Named here too: a logger of which only the parent is
        # named is set up anew, so that what `--no-access-log` has switched off would be back.
        "uvicorn.access": {"handlers": [], "propagate": False},
        **{
            name: {"level": env.read("LOG_LEVEL")}
            for name in ("drservice", "accounts", "workspace", "inference", "training")
        },
    },
}
