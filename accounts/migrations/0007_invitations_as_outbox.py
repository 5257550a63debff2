from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_sealed_invitations")]

    operations = [
        migrations.AddField(
            model_name="invitation",
            name="mail_due_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="invitation",
            name="mail_tries",
            field=models.IntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="invitation",
            name="link_origin",
            field=models.CharField(blank=True, default="", editable=False, max_length=300),
            preserve_default=False,
        ),
        migrations.AddIndex(
            model_name="invitation",
            index=models.Index(fields=["mail_due_at"], name="invitation_mail_due"),
        ),
    ]
