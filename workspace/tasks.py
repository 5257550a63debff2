"""The workspace's tasks: bodies of a line, all logic in services."""

from drservice.common.tasks import grading_task
from workspace.services import cases_reconcile


@grading_task("workspace.reconcile_cases")
def reconcile_cases() -> None:
    """Find cases whose hint or worker was lost. Pre-state: any. Post-state: none is overdue."""
    cases_reconcile()
