"""Who acts: a person on a page, a grading worker, a command, or the service by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from django.db import models


class ActorKind(models.TextChoices):
    PERSON = "person", "Person"
    ANONYMOUS = "anonymous", "Not signed in"
    WORKER = "worker", "Grading worker"
    COMMAND = "command", "Command"
    SERVICE = "service", "The service itself"


@dataclass(frozen=True)
class Actor:
    """`name` and `address` are sealed before they are stored; the id of a person is not."""

    kind: ActorKind
    user_id: object = ""
    name: str = ""
    address: str = ""


SERVICE = Actor(ActorKind.SERVICE)

_actor: ContextVar[Actor] = ContextVar("audit_actor", default=SERVICE)


@contextmanager
def acting_as(actor: Actor) -> Iterator[Actor]:
    """Let every event within a `with` block say that this actor did it."""
    token = _actor.set(actor)
    try:
        yield actor
    finally:
        _actor.reset(token)


def current_actor() -> Actor:
    """Return who acts now; the service itself where nobody has said otherwise."""
    return _actor.get()


def person(user, *, address: str = "") -> Actor:
    """Return the actor that a signed-in user is."""
    return Actor(ActorKind.PERSON, user_id=str(user.pk), name=user.name, address=address)


def anonymous(address: str = "") -> Actor:
    return Actor(ActorKind.ANONYMOUS, address=address)
