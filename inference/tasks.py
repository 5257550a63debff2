"""The grading task: a hint that one case waits. All else is in the case and in the worker."""

from drservice.common.tasks import grading_task
from inference.worker import grading_worker


@grading_task("inference.grade_case")
def grade_case(case_pk: str) -> None:
    """Grade one case. Pre-state: any. Post-state: GRADED, or as it was when nothing is due."""
    grading_worker().execute_case(case_pk)
