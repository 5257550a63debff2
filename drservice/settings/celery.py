"""Celery's settings. The case document is the truth; a message is a hint that may be lost."""

from drservice.settings import env

INFERENCE_QUEUE = "inference"
TRAINING_QUEUE = "training"
QUEUES = (INFERENCE_QUEUE, TRAINING_QUEUE)
# In Redis 0 comes first. Sweeps have it: behind a queue of hints they would expire unseen, and the
# cases of lost workers would stay lost for as long as the rush lasts.
HINT_PRIORITY = 6

_RECONCILE_EVERY_S = env.read("RECONCILE_EVERY_S")
# A sweep may have to wait until a thread is done with its case; old ones are not piled up.
_SWEEPS_WAITING = 12

_SWEEP_RECORDS_EVERY_S = 3600

_SWEEP_INVITATIONS_EVERY_S = 3600

# How long an invitation waits whose hint was lost, or that came while the mail server was away.
_MAIL_INVITATIONS_EVERY_S = 60

# How much of a hospital's audit trail could be cut off without any outside copy showing it.
_ANCHOR_HEADS_EVERY_S = 3600

CELERY_TASK_DEFAULT_QUEUE = INFERENCE_QUEUE
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Redelivery is only a second net under the lease of the case, so it may come late: above any
    # grading time, or a slow case would be delivered again while it runs.
    "visibility_timeout": 3600,
    "unacked_restore_interval": 3,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    # Whoever sends to a broker that is down is told at once; the default tries for six seconds.
    "max_retries": 0,
}
# A nurse's click must never wait for a broker that is down: the hint is dropped, the case stays.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TIMEZONE = "UTC"
CELERY_IMPORTS = ("accounts.tasks", "accounts.people.tasks", "workspace.tasks", "inference.tasks")


def _every(seconds: float, task: str, *, waiting: int = 1) -> dict:
    """Have beat send a task, which is worth nothing when `waiting` more of it have been sent."""
    options = {"queue": INFERENCE_QUEUE, "expires": waiting * seconds}
    return {"task": task, "schedule": float(seconds), "options": options}


CELERY_BEAT_SCHEDULE = {
    "reconcile-cases": _every(
        _RECONCILE_EVERY_S, "workspace.reconcile_cases", waiting=_SWEEPS_WAITING
    ),
    # Also takes a second look for files of patients who were erased since the last one.
    "sweep-records": _every(_SWEEP_RECORDS_EVERY_S, "workspace.sweep_records"),
    "mail-invitations": _every(_MAIL_INVITATIONS_EVERY_S, "accounts.mail_invitations"),
    "sweep-invitations": _every(_SWEEP_INVITATIONS_EVERY_S, "accounts.sweep_invitations"),
    "anchor-heads": _every(_ANCHOR_HEADS_EVERY_S, "accounts.anchor_heads"),
}
CELERY_BEAT_SCHEDULE_FILENAME = str(env.read("VAR_DIR") / "celerybeat-schedule")
