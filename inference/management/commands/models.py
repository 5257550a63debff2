"""List the registered models and who grades with what."""

import redis
from django.core.management.base import BaseCommand

from inference.models import ModelAlias, ModelVersion
from inference.selectors import champion_alias, model_list, workers_alive


class Command(BaseCommand):
    help = "List the registered models, the champion, and the grading workers."

    def handle(self, **options):
        alias = champion_alias()
        for model in model_list():
            self.stdout.write(
                f"{model.label:<40} {model.architecture:<12} {model.sha256[:12]}  "
                f"{model.registered_at:%Y-%m-%d %H:%M}  {self._standing(model, alias)}"
            )
        for status in self._workers():
            standing = f"grades with {status.model_version}" if status.ready else "not ready"
            self.stdout.write(f"{status.worker:<40} {standing} {status.reason}".rstrip())

    def _standing(self, model: ModelVersion, alias: ModelAlias | None) -> str:
        if alias is None:
            return "registered"
        if model.pk == alias.model_id:
            return "champion"
        return "former champion" if model.pk in alias.former else "registered"

    def _workers(self):
        try:
            return workers_alive()
        except redis.RedisError:
            self.stderr.write("Redis does not answer, so nothing is known of the workers.")
            return []
