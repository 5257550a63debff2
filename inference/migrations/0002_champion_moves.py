import django_mongodb_backend.fields
from django.db import migrations, models

import inference.models


class Migration(migrations.Migration):
    dependencies = [("inference", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="ModelMove",
            fields=[
                (
                    "id",
                    django_mongodb_backend.fields.ObjectIdAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("model_id", django_mongodb_backend.fields.ObjectIdField()),
                ("at", models.DateTimeField()),
                ("by", models.CharField(max_length=120)),
                ("reason", models.CharField(blank=True, default="", max_length=300)),
            ],
            options={"abstract": False},
        ),
        migrations.AddField(
            model_name="modelalias",
            name="moves",
            field=django_mongodb_backend.fields.EmbeddedModelArrayField(
                default=list, embedded_model=inference.models.ModelMove
            ),
        ),
    ]
