"""The project's task decorators. The linter refuses a raw `shared_task`: it makes no promise.

Every task here is a hint about a document: late-acknowledged, redelivered when its worker dies,
and safe to run twice because the document decides whether there is anything left to do.
"""

from celery import shared_task

from drservice.settings.celery import INFERENCE_QUEUE, TRAINING_QUEUE


def grading_task(name: str):
    """Declare a task that looks after cases, for the inference queue; arguments are ids as text."""
    return shared_task(name=name, queue=INFERENCE_QUEUE, acks_late=True, ignore_result=True)


def training_task(name: str):
    """Declare a long task for the training queue; arguments are ids as text."""
    return shared_task(name=name, queue=TRAINING_QUEUE, acks_late=True, ignore_result=True)
