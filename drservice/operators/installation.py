"""The parts of the installation, as far as a page may ask them: quickly, and writing nothing."""

from dataclasses import dataclass

import redis
from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts.audit.chain_states import chain_states
from accounts.selectors import hospital_list
from drservice.health import redis_client
from drservice.operators.words import age_in_words
from drservice.supervisor.checkup import Finding, State, check_up
from inference.selectors import workers_alive
from inference.worker_status import WorkerStatus

# The doctor's other questions take seconds, load the model, or write.
SUBJECTS = frozenset({"disk", "mongodb", "replica set", "clock", "migrations", "redis", "worker"})
# Where Celery keeps a queue's messages of each priority in Redis, and those in a worker's hands.
PRIORITY_KEYS = ("", *(f"\x06\x16{priority}" for priority in (3, 6, 9)))
IN_HAND_KEY = "unacked"


@dataclass(frozen=True)
class InstallationReport:
    """Every part with its cure; `queues` and `workers` are None when Redis doesn't answer."""

    findings: list[Finding]
    queues: dict[str, int] | None
    in_hand: int | None
    workers: list[WorkerStatus] | None

    @property
    def problems(self) -> int:
        """Count the parts that are broken and the workers that can't grade."""
        broken = sum(finding.state == State.PROBLEM for finding in self.findings)
        return broken + sum(not worker.ready for worker in self.workers or ())


def installation_report() -> InstallationReport:
    """Ask every part how it is."""
    findings = [*check_up(SUBJECTS), database_size(), audit_trail()]
    try:
        return InstallationReport(findings, queue_lengths(), in_hand(), workers_alive())
    except redis.RedisError:
        return InstallationReport(findings, None, None, None)


def database_size() -> Finding:
    """Say how much the database holds and how full its disk is."""
    stats = connection.database.command("dbStats")
    text = f"{stats['storageSize'] / 1e9:.2f} GB stored"
    if not stats.get("fsTotalSize"):
        return Finding("database", State.OK, text)
    full = stats["fsUsedSize"] / stats["fsTotalSize"]
    text = f"{text}, its disk is {full:.0%} full"
    if full > 0.9:
        return Finding("database", State.PROBLEM, text, "Give MongoDB a larger disk.")
    return Finding("database", State.OK, text)


def audit_trail() -> Finding:
    """Say how long the trails are together and when one last grew; not whether they are whole."""
    chains = chain_states([None, *hospital_list().values_list("pk", flat=True)])
    last = max((chain.last_at for chain in chains.values() if chain.last_at), default=None)
    if last is None:
        return Finding("audit", State.NOTE, "Nothing is on record yet.")
    events = sum(chain.events for chain in chains.values())
    text = f"{events} events in {len(chains)} chains, the last "
    return Finding("audit", State.OK, text + age_in_words(last, timezone.now()) + " ago")


def queue_lengths() -> dict[str, int]:
    """Count the messages that wait in each queue. Raises redis.RedisError."""
    return {
        queue: sum(redis_client().llen(queue + key) for key in PRIORITY_KEYS)
        for queue in settings.QUEUES
    }


def in_hand() -> int:
    """Count the messages that workers hold and have not finished. Raises redis.RedisError."""
    return redis_client().hlen(IN_HAND_KEY)
