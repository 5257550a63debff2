"""How ObjectIds stand in URLs."""

from bson import ObjectId


class ObjectIdConverter:
    """Match exactly 24 lower-case hex digits, so that anything else is a 404 before any query."""

    regex = "[0-9a-f]{24}"

    def to_python(self, value: str) -> ObjectId:
        return ObjectId(value)

    def to_url(self, value: ObjectId | str) -> str:
        return str(value)
