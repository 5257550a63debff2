"""What goes wrong with the audit trail."""


class AuditUnavailable(Exception):
    """An event could not be written, so nothing may be changed or shown.

    Not a `ServiceFault`: views show those beside a form and go on, and this must stop them. The
    caller's transaction rolls back, and the middleware answers 503.
    """


class AppendOnly(TypeError):
    """Something tried to change or delete what is in the audit trail."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is written once, by accounts.audit.services.audit_record, and never changed."
        )
