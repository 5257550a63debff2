"""A broker that goes away while messages are in hand, with a real Redis."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from kombu import Connection, Consumer, Queue
from kombu.message import Message
from kombu.transport.redis import Transport

from drservice.celery import app
from drservice.common.broker import LossAwareTransport
from drservice.embedded import start_redis
from drservice.embedded.ports import free_port

pytestmark = pytest.mark.processes


@dataclass
class Lost:
    """A connection whose Redis is gone, and a message that came over it."""

    connection: Connection
    message: Message

    def clean_up(self) -> None:
        """Do what Celery does with a connection that was lost."""
        with suppress(Exception):  # as Celery has it
            self.connection.collect(socket_timeout=5)
        self.connection.close()


@pytest.fixture
def lose(tmp_path: Path) -> Iterator[Callable[[type[Transport]], Lost]]:
    """Return a function that loses a connection of two channels with a message in hand."""
    server = start_redis(tmp_path, free_port())
    in_hand = []

    def lose(transport: type[Transport]) -> Lost:
        options = {"socket_timeout": 5}
        connection = Connection(server.url, transport=transport, transport_options=options)
        messages = []
        for number, channel in enumerate((connection.default_channel, connection.channel())):
            queue = Queue(f"queue {number}", channel=channel)
            Consumer(channel, [queue], on_message=messages.append).consume()
        connection.Producer().publish("hint", exchange="", routing_key="queue 0")
        connection.drain_events(timeout=5)
        with pytest.raises(TimeoutError):  # both channels wait for more, as a worker's do
            connection.drain_events(timeout=0.2)
        [message] = messages
        in_hand.append(message.channel.qos)
        server.process.kill()
        server.process.wait()
        return Lost(connection, message)

    yield lose
    for each in in_hand:
        each._on_collect.cancel()  # kombu would try once more when this process ends
    server.stop()


def test_lost_connection_is_cleaned_up_and_a_late_word_over_it_is_a_connection_error(lose):
    lost = lose(LossAwareTransport)
    errors = lost.connection.connection_errors
    lost.clean_up()
    with pytest.raises(errors):
        lost.message.ack()


def test_kombus_own_transport_still_fails_otherwise(lose):
    """When this fails, ours is needed no more."""
    with pytest.raises(AttributeError, match="hostname"):
        lose(Transport).clean_up()


def test_workers_and_senders_use_it():
    assert isinstance(app.connection_for_read().transport, LossAwareTransport)
    assert isinstance(app.connection_for_write().transport, LossAwareTransport)
