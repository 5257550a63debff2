"""What can go wrong with models and grading workers, in words that are safe to show."""

from drservice.common.errors import ServiceFault


class InferenceFault(ServiceFault):
    """The base of the app's errors."""


class ModelRefused(InferenceFault):
    """A model was not registered or promoted: it is not what it says, or the name is taken."""


class ModelUnavailable(InferenceFault):
    """There is no valid model to grade with, so nothing is graded."""


class GradingFailed(InferenceFault):
    """One try at a case came to nothing; the text is shown to the clinic."""
