"""What went wrong with a service, and what the reader should do about it."""

from drservice.common.errors import ServiceFault


class ServiceError(ServiceFault):
    """A service could not be started, or ended. `what` happened, and `cure` is what to do."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what} {cure}")
        self.what = what
        self.cure = cure
