"""Django's own command, whose operators are made under its name in the audit trail."""

from django.contrib.auth.management.commands import createsuperuser

from accounts.audit.commands import ActingCommand


class Command(ActingCommand, createsuperuser.Command):
    help = "Make a platform operator: runs the service, belongs to no hospital, sees no patient."
