"""The order in which workers get to hear of what there is to do."""

from bson import ObjectId
from django.conf import settings

from drservice.celery import app
from drservice.settings.celery import INFERENCE_QUEUE
from workspace.models import Case
from workspace.services import GRADE_CASE, hint_send

SWEEP = settings.CELERY_BEAT_SCHEDULE["reconcile-cases"]


def test_sweep_overtakes_the_hints_of_a_rush(redis_service):
    with app.connection_for_read() as connection, connection.channel() as channel:
        queue = connection.SimpleQueue(app.amqp.queues[INFERENCE_QUEUE], no_ack=True)
        channel.queue_purge(INFERENCE_QUEUE)
        for _ in range(3):
            assert hint_send(Case(pk=ObjectId()))
        app.send_task(SWEEP["task"], **SWEEP["options"])

        heard = [queue.get(timeout=5).headers["task"] for _ in range(4)]

        queue.close()
    assert heard == [SWEEP["task"], *[GRADE_CASE] * 3]
