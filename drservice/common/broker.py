"""kombu's transport for Redis, except that a lost connection is told as one.

A channel of a connection that was lost and closed is still asked for things: to put messages back,
or to acknowledge a case that has just been finished. Now and then kombu finds no address any more
to open the connection with, and fails with an AttributeError (compare issue 582 of celery/kombu).
Celery takes that for its own end, so the worker would end in the middle of its cases. Every part of
Celery and kombu knows how to go on after a connection error.
"""

from typing import Any

import redis
from kombu.transport.redis import Channel, Transport


class LossAwareChannel(Channel):
    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """Return where to connect to. Raises redis.ConnectionError once that is closed."""
        if getattr(self.connection, "client", None) is None:
            raise redis.ConnectionError("The connection of this channel is closed.")
        return super()._connparams(asynchronous=asynchronous)


class LossAwareTransport(Transport):
    Channel = LossAwareChannel
