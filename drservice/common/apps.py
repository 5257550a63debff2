from allauth.account.apps import AccountConfig
from allauth.mfa.apps import MFAConfig
from allauth.socialaccount.apps import SocialAccountConfig
from allauth.usersessions.apps import UserSessionsConfig
from axes.apps import AppConfig as AxesConfig
from django.apps import AppConfig
from django.contrib.auth.apps import AuthConfig
from django.contrib.contenttypes.apps import ContentTypesConfig
from django.urls import register_converter

from drservice.common.converters import ObjectIdConverter

OBJECT_ID_FIELD = "django_mongodb_backend.fields.ObjectIdAutoField"


class CommonConfig(AppConfig):
    name = "drservice.common"
    label = "common"

    def ready(self) -> None:
        register_converter(ObjectIdConverter, "oid")


class MongoAuthConfig(AuthConfig):
    default_auto_field = OBJECT_ID_FIELD


class MongoContentTypesConfig(ContentTypesConfig):
    default_auto_field = OBJECT_ID_FIELD


class MongoAxesConfig(AxesConfig):
    default_auto_field = OBJECT_ID_FIELD


class MongoAccountConfig(AccountConfig):
    default_auto_field = OBJECT_ID_FIELD


class MongoMFAConfig(MFAConfig):
    default_auto_field = OBJECT_ID_FIELD


class MongoSocialAccountConfig(SocialAccountConfig):
    default_auto_field = OBJECT_ID_FIELD


class MongoUserSessionsConfig(UserSessionsConfig):
    default_auto_field = OBJECT_ID_FIELD
