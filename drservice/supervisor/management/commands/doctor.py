"""Ask every part of the service how it is."""

import sys

from django.core.management.base import BaseCommand

from drservice.supervisor.checkup import Finding, State, check_up

STYLES = {State.OK: "SUCCESS", State.NOTE: "WARNING", State.PROBLEM: "ERROR"}


class Command(BaseCommand):
    help = "Check every part, one line each, and name the cure of what is broken (exit code 1)."
    requires_system_checks = []

    def handle(self, *args, **options) -> None:
        findings = []
        for finding in check_up():
            self.stdout.write(self._line(finding))
            findings.append(finding)
        if any(finding.state == State.PROBLEM for finding in findings):
            sys.exit(1)

    def _line(self, finding: Finding) -> str:
        state = getattr(self.style, STYLES[finding.state])(f"{finding.state:<8}")
        cure = f" {finding.cure}" if finding.cure else ""
        return f"{state} {finding.subject:<14} {finding.text}{cure}"
