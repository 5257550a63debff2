"""The base of every error that the project raises on purpose."""


class ServiceFault(Exception):
    """An error whose text is safe to show: it holds no patient data and says what to do next."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
