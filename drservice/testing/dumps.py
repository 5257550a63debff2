"""What a thief would find in a copy of the database."""

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from django.db import connection


def raw_database() -> dict[str, bytes]:
    """Return every document of every collection, byte for byte as it lies in the database."""
    raw = CodecOptions(document_class=RawBSONDocument)
    return {
        name: b"".join(one.raw for one in connection.database.get_collection(name, raw).find())
        for name in connection.database.list_collection_names()
    }
