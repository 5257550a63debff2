"""Seal whom an invitation is for, in those written before too.

Can break off anywhere and begin again: what is still plain text is told from what is sealed by its
type in the database. Backwards everything becomes plain text as before. What a hospital invited
whose key was destroyed is deleted: it can't be sealed, must not stay readable, and nobody can
accept it any more.
"""

from collections.abc import Callable

import accounts.keys.fields
from django.db import migrations, models

from accounts.keys.errors import KeyDestroyed
from accounts.keys.sealing import keyed_hash, seal_bytes, unseal_bytes

INVITATIONS = "accounts_invitation"
# What each value is bound to.
SEALED = {"email": "accounts.invitation.email", "name": "accounts.invitation.name"}
HASHED_FOR = "invited e-mail"
ONCE = "invitation_pending_once_per_hospital"
ONCE_BY_HASH = "invitation_pending_hash_once_per_hospital"
TWICE = "This address is invited already."


def seal(apps, schema_editor) -> None:
    _change_all(schema_editor, "string", _sealed)


def unseal(apps, schema_editor) -> None:
    _change_all(schema_editor, "binData", _unsealed)


def _change_all(schema_editor, kind: str, changes: Callable[[dict], dict]) -> None:
    """Set what `changes` returns wherever a value has this BSON type, unless it changed meanwhile."""
    invitations = schema_editor.connection.get_collection(INVITATIONS)
    for one in invitations.find({"$or": [{name: {"$type": kind}} for name in SEALED]}):
        as_seen = {"_id": one["_id"], **{name: one[name] for name in SEALED}}
        try:
            invitations.update_one(as_seen, {"$set": changes(one)})
        except KeyDestroyed:
            invitations.delete_one(as_seen)


def _sealed(one: dict) -> dict:
    plain, hospital_id = {**one, **_unsealed(one)}, one["hospital_id"]
    sealed = {
        name: seal_bytes(plain[name].encode(), hospital_id=hospital_id, purpose=purpose)
        for name, purpose in SEALED.items()
    }
    address = plain["email"].strip().lower()
    hashed = keyed_hash(address, hospital_id=hospital_id, purpose=HASHED_FOR)
    return {**sealed, "email_hash": hashed}


def _unsealed(one: dict) -> dict:
    return {
        name: unseal_bytes(one[name], purpose=purpose).decode()
        for name, purpose in SEALED.items()
        if isinstance(one[name], bytes)
    }


def _once(field: str, name: str) -> models.UniqueConstraint:
    return models.UniqueConstraint(
        condition=models.Q(("state", "pending")),
        fields=("hospital", field),
        name=name,
        violation_error_message=TWICE,
    )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_invitations_by_hand"), ("keys", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="invitation",
            name="email_hash",
            field=models.CharField(default="", editable=False, max_length=22),
            preserve_default=False,
        ),
        migrations.RemoveConstraint(model_name="invitation", name=ONCE),
        migrations.RunPython(seal, unseal),
        migrations.AlterField(
            model_name="invitation",
            name="email",
            field=accounts.keys.fields.SealedEmailField(max_length=254, verbose_name="e-mail"),
        ),
        migrations.AlterField(
            model_name="invitation",
            name="name",
            field=accounts.keys.fields.SealedCharField(max_length=120),
        ),
        migrations.AddConstraint(
            model_name="invitation", constraint=_once("email_hash", ONCE_BY_HASH)
        ),
    ]
