"""Let MongoDB remove sessions that are over, so that nobody has to remember to."""

from django.db import migrations

SESSIONS = "django_session"
BY_END = {"expire_date": 1}
# MongoDB can't turn such an index back into a plain one; this is as good as never.
NEVER_S = 2**31 - 1


def _expire_after(schema_editor, seconds: int) -> None:
    index = {"keyPattern": BY_END, "expireAfterSeconds": seconds}
    schema_editor.connection.database.command("collMod", SESSIONS, index=index)


def expire(apps, schema_editor) -> None:
    _expire_after(schema_editor, 0)


def keep(apps, schema_editor) -> None:
    _expire_after(schema_editor, NEVER_S)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_first_passwords_and_member_names"),
        ("sessions", "0001_initial"),
    ]

    operations = [migrations.RunPython(expire, keep)]
