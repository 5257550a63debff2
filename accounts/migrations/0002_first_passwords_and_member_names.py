from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="must_change_password",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="hospital",
            name="people_version",
            field=models.IntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="membership",
            name="name",
            field=models.CharField(default="", max_length=120),
            preserve_default=False,
        ),
    ]
