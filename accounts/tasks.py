"""The accounts' tasks: bodies of a line, all logic in services."""

from accounts.audit.anchors import heads_anchor
from drservice.common.tasks import grading_task


@grading_task("accounts.anchor_heads")
def anchor_heads() -> None:
    """Note where chains end. Pre-state: any. Post-state: every head is on the platform's chain."""
    heads_anchor()
