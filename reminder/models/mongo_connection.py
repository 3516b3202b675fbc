"""How a MongoDB database is connected to, and its indexes made."""

from collections.abc import Iterable
from typing import Any

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import IndexModel, MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from reminder.errors import ConfigError

Document = dict[str, Any]

DATABASE = 'event-reminder'
"""The database where the url names none."""


def connect(url: str, timeout: float) -> Database[Document]:
    """The database, with settings that the url cannot weaken. Connects at its first operation, each of which may take
    `timeout` (s). Raises ConfigError."""
    try:
        client: MongoClient[Document] = MongoClient(url, connect=False, timeoutMS=timeout * 1_000)
    except OSError as error:
        raise ConfigError(f'DATABASE_URL names a file that cannot be read: {error.strerror}') from None
    except (PyMongoError, ValueError, TypeError):
        # Without the reason and the cause, as either may quote a part of the url.
        raise ConfigError(
            'DATABASE_URL is not a valid MongoDB connection string '
            "(in a user name or password, '%', '/', ':' and '@' must be written %25, %2F, %3A and %40)"
        ) from None
    return client.get_default_database(
        DATABASE,
        # What other programs wrote, be it no UTF-8 or a date beyond Python's, must not keep the rest from being read.
        CodecOptions(unicode_decode_error_handler='replace', datetime_conversion=DatetimeConversion.DATETIME_MS),
        ReadPreference.PRIMARY,
        WriteConcern('majority', j=True),
        ReadConcern('local'),
    )


def make_indexes(collection: Collection[Document], indexes: Iterable[IndexModel]) -> None:
    """Makes those indexes that are missing."""
    # Looked for by their keys, because they may exist under other names; and over many events building takes long.
    existing = [list(index['key'].items()) for index in collection.list_indexes()]
    for index in indexes:  # one by one: FerretDB breaks off several that another server makes at the same time
        if list(index.document['key'].items()) not in existing:
            with pymongo.timeout(0):  # no limit
                collection.create_indexes([index])
