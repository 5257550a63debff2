"""Read the newest documents in the order of an index, and build instances from raw documents."""

from django.db import connection, models
from pymongo import DESCENDING

from accounts.scoping import ScopedManager, current_scope


class NewestManager(ScopedManager):
    """Read the newest documents in the order of an index.

    The backend puts a stage between `$match` and `$sort`, so a queryset sorts the whole hospital
    for every page; a plain `find` walks the index and stops.
    """

    def newest(self, *, where: dict, start: int, count: int, without: tuple[str, ...] = ()) -> list:
        """Return `count` documents from the `start`-th newest on; `without` are left unread.

        `where` is a MongoDB filter. It needs an index of hospital, the filter's fields, and
        descending `created_at`.
        """
        fields = [field for field in self.model._meta.concrete_fields if field.name not in without]
        found = (
            self._collection()
            .find(
                current_scope(self.model.__name__).narrow(where),
                [one.column for one in fields],
                session=connection.session,
            )
            .sort("created_at", DESCENDING)
            .skip(start)
            .limit(count)
        )
        return [self._instance(stored, fields) for stored in found]

    def count_up_to(self, limit: int, where: dict) -> int:
        """Return how many documents match a MongoDB filter, counting no further than `limit`."""
        narrowed = current_scope(self.model.__name__).narrow(where)
        return self._collection().count_documents(narrowed, limit=limit, session=connection.session)

    def _collection(self):
        return connection.get_collection(self.model._meta.db_table)

    def _instance(self, stored: dict, fields: list[models.Field]):
        """Build the model instance from a document, through the fields' own converters."""
        values = [_from_db(field, stored.get(field.column)) for field in fields]
        return self.model.from_db(connection.alias, [field.attname for field in fields], values)


def _from_db(field: models.Field, value):
    column = field.get_col(field.model._meta.db_table)
    converters = connection.ops.get_db_converters(column) + column.get_db_converters(connection)
    for converter in converters:
        value = converter(value, column, connection)
    return value
