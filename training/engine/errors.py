"""What can go wrong in training, in words that are safe to show."""


class TrainingError(Exception):
    """Say what went wrong and what to do next."""

    code = "training_error"

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(f"{problem} {cure}")
        self.problem = problem
        self.cure = cure


class DataInvalid(TrainingError):
    """The data set is incomplete, or would leak."""

    code = "data_invalid"


class SplitForbidden(TrainingError):
    """Somebody tried to learn or tune on eyes that are kept for checking."""

    code = "split_forbidden"


class RunBusy(TrainingError):
    """Another process works on the run; trying again later may be all that is needed."""

    code = "run_busy"


class CardIncomplete(TrainingError):
    """A figure or fact that the card has to show is not in the manifest."""

    code = "card_incomplete"
