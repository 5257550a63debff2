import django_mongodb_backend.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workspace", "0006_sealed_reasons")]

    operations = [
        migrations.AddField(
            model_name="patientmerge",
            name="consents_lowered",
            field=django_mongodb_backend.fields.ArrayField(
                models.CharField(max_length=30), default=list
            ),
        ),
        migrations.AddField(
            model_name="patientmerge",
            name="consents_withdrawn",
            field=django_mongodb_backend.fields.ArrayField(
                models.CharField(max_length=30), default=list
            ),
        ),
    ]
