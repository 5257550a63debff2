"""The workspace's tasks: bodies of a line, all logic in services."""

from drservice.common.tasks import grading_task
from workspace.patients.sweeping import records_sweep
from workspace.services import cases_reconcile


@grading_task("workspace.reconcile_cases")
def reconcile_cases() -> None:
    """Find cases whose hint or worker was lost. Pre-state: any. Post-state: none is overdue."""
    cases_reconcile()


@grading_task("workspace.sweep_records")
def sweep_records() -> None:
    """Erase what is due where a hospital decided so. Pre-state: any. Post-state: none is left."""
    records_sweep()
