from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_invitations_and_second_factors")]

    operations = [
        migrations.AddField(
            model_name="invitation",
            name="by_hand",
            field=models.BooleanField(default=False, editable=False),
        ),
    ]
