"""What can go wrong in the engine, in words that are safe to show."""


class EngineError(Exception):
    """Say what went wrong and what to do next; `code` is stable, the text is for people."""

    code = "engine_error"

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(f"{problem} {cure}")
        self.problem = problem
        self.cure = cure


class UnreadableImage(EngineError):
    """The bytes are not a photograph that the engine can decode."""

    code = "unreadable_image"


class ArtefactInvalid(EngineError):
    """The model on disk is not the one its manifest describes, so nothing is graded with it."""

    code = "artefact_invalid"


class SpecInvalid(EngineError):
    """A preprocessing specification asks for something that serving must not do."""

    code = "spec_invalid"
