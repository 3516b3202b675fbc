"""The MongoDB store: the collection `events` of the Node.js server, and the log's record in `eventLog`.

Any deployment of MongoDB 4.4 or later: a single server, a replica set, a sharded cluster. Events are documents
`{_id: ObjectId, name, time: Date, localTime, timeZone}`; other fields (mongoose adds `__v`) are left alone. Limit: an
event whose `_id` is no ObjectId is read and delivered, but of several such events of one instant some may be passed
over where a page ends between them.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from secrets import token_hex
from time import monotonic
from typing import Any

import pymongo
from bson import ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from pymongo import ASCENDING, DESCENDING, MongoClient, ReadPreference, ReturnDocument, WriteConcern
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from reminder.errors import ConfigError, MinuteClosed, StoreUnavailable
from reminder.models.event import Event, Place, Record, iso
from reminder.models.group import GroupCommit
from reminder.models.store import Store

Document = dict[str, Any]

DATABASE = 'event-reminder'
"""The database where the url names none."""
TIMEOUT = 4.0
"""How long (s) an operation, or a batch of `add`, may take, with finding a server that can do it."""
BATCH = 1_000
"""Events that are written, or deleted, by one command at most."""
CLOCK_TOLERANCE = 1_000
"""Up to how many ms two clocks count as the same."""

_FIELDS = ('name', 'time', 'localTime', 'timeZone')
_FORWARD = [('time', ASCENDING), ('_id', ASCENDING)]
_BACKWARD = [('time', DESCENDING), ('_id', DESCENDING)]
_OBJECT_ID = re.compile('[0-9a-f]{24}')
_RECORD = {'_id': 'log'}
_INSTANTS = ('opened', 'closed', 'delivered', 'purged')


class MongoStore(Store):
    """The contract of `Store` over a MongoDB database."""

    def __init__(self, url: str) -> None:
        """`url` is a MongoDB connection string, which is only checked here. Raises ConfigError."""
        self._database = _database(url)
        self._events = self._database['events']
        self._log = self._database['eventLog']
        self._log_id = ''  # of the log that the last batch of `add` was fenced by
        self._adding = GroupCommit(self._insert, BATCH)

    def open(self, now: int) -> Record:
        first = {'log': token_hex(8), **dict.fromkeys(_INSTANTS, DatetimeMS(now))}
        with self._failures():
            with suppress(DuplicateKeyError):  # of servers that begin at once one makes the record
                self._log.update_one(_RECORD, {'$setOnInsert': first}, upsert=True)
            # Looked for, because it may exist under another name; and over many events its building takes long.
            if not any(list(index['key'].items()) == _FORWARD for index in self._events.list_indexes()):
                with pymongo.timeout(0):  # no limit
                    self._events.create_index(_FORWARD)
            record = self._raise_closed(0)
            self._log_id = record.log
            return record

    def close(self) -> None:
        with suppress(PyMongoError), pymongo.timeout(0.5):  # it says good-bye, even to a server that is away
            self._database.client.close()

    def record(self) -> Record:
        with self._failures():
            return _record(self._log.find_one(_RECORD))

    def clock_offset(self, now: int) -> int:
        with self._failures():
            begun = monotonic()
            hello = self._database.command('hello', codec_options=self._database.codec_options)
            half = (monotonic() - begun) * 500
        offset = int(hello['localTime']) - now - round(half)
        return offset if abs(offset) >= CLOCK_TOLERANCE + half else 0

    def add(self, event: Event) -> None:
        self._adding.add(event)

    def get(self, id: str) -> Event | None:
        with self._failures():
            document = self._events.find_one({'_id': _key(id)}, _FIELDS)
        return _event(document) if document and isinstance(document.get('time'), DatetimeMS) else None

    def close_minute(self, minute: int) -> Record:
        with self._failures():
            return self._raise_closed(minute)

    def set_delivered(self, log: str, minute: int) -> None:
        with self._failures():
            self._log.update_one({**_RECORD, 'log': log}, {'$max': {'delivered': DatetimeMS(minute)}})

    def reopen(self, log: str, now: int) -> Record:
        moment = DatetimeMS(now)
        renewed = {'opened': moment, 'closed': moment, 'delivered': moment}
        with self._failures():
            while True:
                record = _record(self._log.find_one(_RECORD))
                if record.log != log or record.closed <= now:
                    return record
                closed = DatetimeMS(record.closed)
                for unmarked in ({'$exists': False}, False):
                    self._mark({'time': {'$gt': moment, '$lte': closed}, 'delivered': unmarked}, log)
                # Changes nothing where another server has done it, or has closed a further minute meanwhile.
                self._log.update_one(
                    {**_RECORD, 'log': log, 'closed': closed},
                    {'$set': {**renewed, 'log': token_hex(8)}, '$min': {'purged': moment}},
                )

    def _mark(self, skipped: Document, log: str) -> None:
        """Marks the events of that description as delivered, but none that came into another log than `log`."""
        while True:
            ids = [document['_id'] for document in self._events.find(skipped, ('_id',)).limit(BATCH)]
            # Another server may have reopened the log, and new events may have come into that one. So what is marked
            # was found before, and is marked only if nobody has touched it since (see `_insert`).
            if not ids or self.record().log != log:
                return
            unmarked = {'_id': {'$in': ids}, 'delivered': skipped['delivered']}
            self._events.update_many(unmarked, {'$set': {'delivered': True}})

    def purge(self, before: int) -> int:
        deleted = 0
        with self._failures():
            record = self.record()
            until = DatetimeMS(min(before, record.delivered))
            self._log.update_one({**_RECORD, 'log': record.log}, {'$max': {'purged': until}})
            while True:
                portion = self._events.find({'time': {'$lte': until}}, ('_id',)).sort(_FORWARD).limit(BATCH)
                ids = [document['_id'] for document in portion]
                # Where the log was reopened, `until` may lie in its future; what was found before is of its past.
                if not ids or self.record().log != record.log:
                    return deleted
                deleted += self._events.delete_many({'_id': {'$in': ids}}).deleted_count

    def read(self, after: Place, until: Place, limit: int) -> Sequence[Event]:
        with self._failures():
            found = self._events.find(_between(after, until), _FIELDS, limit=limit, batch_size=limit)
            return [_event(document) for document in found.sort(_FORWARD)]

    def count(self, after: Place, until: Place, limit: int) -> int:
        with self._failures():
            return self._events.count_documents(_between(after, until), limit=limit)

    def before(self, after: Place, until: Place, count: int) -> Place:
        with self._failures():
            found = self._events.find(_between(after, until), ('time',)).sort(_BACKWARD).skip(count).limit(1)
            places = [Place(int(document['time']), str(document['_id'])) for document in found]
        return places[0] if places else after

    # -- the fence --------------------------------------------------------------------------------------------------

    def _insert(self, events: list[Event]) -> Sequence[Exception | None]:
        outcomes: list[Exception | None] = [None] * len(events)
        with self._failures(), pymongo.timeout(TIMEOUT):
            for number, reason in self._insert_many(events).items():
                outcomes[number] = StoreUnavailable(self._line(reason))
            kept = [event for event, outcome in zip(events, outcomes, strict=True) if outcome is None]
            record = self._raise_closed(0)
            while record.log != self._log_id:
                # A reopening may have marked what had been inserted just before, to be passed over by readers.
                self._log_id = record.log
                self._events.update_many(_ids(kept), {'$set': {'delivered': False}})
                record = self._raise_closed(0)
            late = [event for event in kept if event.time <= record.closed]
            if late:
                self._events.delete_many(_ids(late))
        return [
            MinuteClosed(f'{iso(event.time)} is closed') if outcome is None and event.time <= record.closed else outcome
            for event, outcome in zip(events, outcomes, strict=True)
        ]

    def _insert_many(self, events: list[Event]) -> dict[int, str]:
        """Inserts them, and returns the numbers of those that were refused, with the server's reasons."""
        try:
            self._events.insert_many(map(_document, events), ordered=False)
        except BulkWriteError as error:
            for failure in error.details['writeConcernErrors']:  # not durable, as far as the server knows
                raise PyMongoError(failure['errmsg']) from error
            return {failure['index']: failure['errmsg'] for failure in error.details['writeErrors']}
        return {}

    def _raise_closed(self, minute: int) -> Record:
        """Raises `closed` to at least `minute` and returns the record after that; 0 only reads it.

        It always changes the document, and waits for a majority, so that a primary which was deposed without knowing
        it cannot answer: what is returned is neither stale nor taken back later (MongoDB's manual on linearizable
        reads via findAndModify; read concern 'linearizable' would not work on a single server).
        """
        return _record(
            self._log.find_one_and_update(
                _RECORD,
                {'$max': {'closed': DatetimeMS(minute)}, '$inc': {'fenced': 1}},
                return_document=ReturnDocument.AFTER,
            )
        )

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (PyMongoError, BSONError) as error:
            raise StoreUnavailable(self._line(str(error))) from error

    def _line(self, reason: str) -> str:
        """`reason` on one line, behind the servers' addresses, without the details that the driver appends."""
        servers = self._database.client.topology_description.server_descriptions()
        addresses = ', '.join(f'{host}:{port}' for host, port in servers)
        told = re.split(r' \(configured timeouts|, Timeout:|, full error:', reason)[0].removeprefix(f'{addresses}: ')
        return ' '.join(f'MongoDB {addresses}: {told}'.split())


def _database(url: str) -> Database[Document]:
    """The database, with settings that the url cannot weaken. Connects at its first operation."""
    try:
        client: MongoClient[Document] = MongoClient(url, connect=False, timeoutMS=TIMEOUT * 1_000)
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


# -- events and the record as documents -----------------------------------------------------------------------------


def _document(event: Event) -> Document:
    document = {'_id': _key(event.id), 'name': event.name, 'time': DatetimeMS(event.time)}
    return {**document, 'localTime': event.local_time, 'timeZone': event.zone}


def _event(document: Document) -> Event:
    """The event of a document, whoever wrote it: only its time is known to be what it should."""
    name, local_time, zone = (document.get(field) for field in ('name', 'localTime', 'timeZone'))
    return Event(
        id=str(document['_id']),
        name='' if name is None else str(name),
        time=int(document['time']),
        local_time=local_time if isinstance(local_time, str) else None,
        zone=zone if isinstance(zone, str) else None,
    )


def _record(document: Document | None) -> Record:
    if document is None:
        raise PyMongoError("the log's record is missing in the collection 'eventLog'")
    return Record(document['log'], *(int(document[field]) for field in _INSTANTS))


def _ids(events: Sequence[Event]) -> Document:
    return {'_id': {'$in': [_key(event.id) for event in events]}}


def _key(id: str) -> ObjectId | str:
    """The `_id` of an event; halves of surrogate pairs, which no `_id` has and BSON refuses, are replaced."""
    return ObjectId(id) if _OBJECT_ID.fullmatch(id) else id.encode(errors='replace').decode()


def _between(after: Place, until: Place) -> Document:
    """What lies in `(after, until]`, in spans for which MongoDB walks along the index `(time, _id)` and merges."""
    first, last = DatetimeMS(after.time), DatetimeMS(until.time)
    # Comparisons find dates only, and lists that hold one, which are no times.
    end: Document = {'$lte' if until.id else '$lt': last, '$not': {'$type': 'array'}}
    spans: list[Document] = [{'time': {'$gt' if after.id else '$gte': first, **end}}]
    if after.id:
        spans.append({'time': {'$eq': first, **end}, '_id': {'$gt': _key(after.id)}})
    query: Document = {'$or': spans, 'delivered': {'$ne': True}}
    if until.id:
        query['$nor'] = [{'time': last, '_id': {'$gt': _key(until.id)}}]
    return query
