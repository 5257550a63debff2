from django.apps import AppConfig
from django.utils.module_loading import import_string


class AuditConfig(AppConfig):
    name = "accounts.audit"
    label = "audit"
    verbose_name = "Audit trail"

    def ready(self) -> None:
        # By name: models can't be imported before every app is known.
        import_string("accounts.audit.receivers.connect")()
