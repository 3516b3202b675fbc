"""The MongoDB store: the collection `events` of the Node.js server, `series`, and the log's record in `eventLog`.

Any deployment of MongoDB 4.4 or later: a single server, a replica set, a sharded cluster. Limit: an event whose `_id`
is no ObjectId is read and delivered, but of several such events of one instant some may be passed over where a page
ends between them.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from secrets import token_hex
from time import monotonic
from typing import Any

import pymongo
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from pymongo import ASCENDING, DeleteOne, ReplaceOne, ReturnDocument
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from reminder.errors import Changed, MinuteClosed, StoreUnavailable
from reminder.models.event import Event, Place, Record, Series, iso
from reminder.models.group import GroupCommit
from reminder.models.mongo_changes import Changes
from reminder.models.mongo_connection import connect, make_indexes
from reminder.models.mongo_documents import (
    BACKWARD,
    EVENT_INDEXES,
    FIELDS,
    FORWARD,
    INSTANTS,
    RECORD,
    SERIES_INDEXES,
    VISIBLE,
    Document,
    as_event,
    as_record,
    as_series,
    between,
    contents,
    in_channels,
    key,
    same_series,
    series_document,
    span,
    storable,
    untouched,
    with_ids,
)
from reminder.models.store import Channels, Store

TIMEOUT = 4.0
"""How long (s) an operation, a batch of `add`, or a change may take, with finding a server that can do it."""
BATCH = 1_000
"""Events that are written, or deleted, by one command at most."""
CLOCK_TOLERANCE = 1_000
"""Up to how many ms two clocks count as the same."""

_TAKEN = 11000  # MongoDB's code of a duplicate key


class MongoStore(Store):
    """The contract of `Store` over a MongoDB database."""

    def __init__(self, url: str) -> None:
        """`url` is a MongoDB connection string, which is only checked here. Raises ConfigError."""
        self._database = connect(url, TIMEOUT)
        self._events = self._database['events']
        self._series = self._database['series']
        self._log = self._database['eventLog']
        self._log_id = ''  # of the log that the last batch of `add` was fenced by
        self._adding = GroupCommit(self._insert, BATCH)
        self._fencing = GroupCommit(self._fence, BATCH)
        self._changes = Changes(self._events, self.record, lambda: self._fencing.add(None))

    def open(self, now: int) -> Record:
        first = {'log': token_hex(8), **dict.fromkeys(INSTANTS, DatetimeMS(now))}
        with self._failures():
            with suppress(DuplicateKeyError):  # of servers that begin at once one makes the record
                self._log.update_one(RECORD, {'$setOnInsert': first}, upsert=True)
            make_indexes(self._events, EVENT_INDEXES)
            make_indexes(self._series, SERIES_INDEXES)
            record = self._raise_closed(0)
            self._log_id = record.log
            return record

    def close(self) -> None:
        with suppress(PyMongoError), pymongo.timeout(0.5):  # it says good-bye, even to a server that is away
            self._database.client.close()

    def record(self) -> Record:
        with self._failures():
            return as_record(self._log.find_one(RECORD))

    def clock_offset(self, now: int) -> int:
        with self._failures():
            begun = monotonic()
            hello = self._database.command('hello', codec_options=self._database.codec_options)
            half = (monotonic() - begun) * 500
        offset = int(hello['localTime']) - now - round(half)
        return offset if abs(offset) >= CLOCK_TOLERANCE + half else 0

    def add(self, event: Event) -> Event:
        return self._adding.add(event)

    def add_all(self, events: Sequence[Event]) -> Sequence[Event | Exception]:
        return self._adding.add_all(events) if events else ()

    def get(self, id: str) -> Event | None:
        with self._failures():
            document = self._changes.find(id)
        return as_event(document) if document else None

    def replace(self, old: Event, new: Event) -> Event:
        with self._failures(), pymongo.timeout(TIMEOUT):
            return self._changes.replace(old, new)

    def close_minute(self, minute: int) -> Record:
        with self._failures(), pymongo.timeout(TIMEOUT):
            record = self._raise_closed(minute)
            while True:
                self._changes.settle(record.closed)
                now = self.record()
                if now.log == record.log:
                    return record
                record = now  # reopened meanwhile: what was closed may be open again

    def set_delivered(self, log: str, minute: int) -> None:
        with self._failures():
            self._log.update_one({**RECORD, 'log': log}, {'$max': {'delivered': DatetimeMS(minute)}})

    def reopen(self, log: str, now: int) -> Record:
        moment = DatetimeMS(now)
        renewed = {'opened': moment, 'closed': moment, 'delivered': moment}
        with self._failures():
            while True:
                record = as_record(self._log.find_one(RECORD))
                if record.log != log or record.closed <= now:
                    return record
                self._changes.settle(record.closed)
                closed = DatetimeMS(record.closed)
                for unmarked in ({'$exists': False}, False):
                    self._mark({'time': {'$gt': moment, '$lte': closed}, 'delivered': unmarked}, log)
                # Changes nothing where another server has done it, or has closed a further minute meanwhile.
                self._log.update_one(
                    {**RECORD, 'log': log, 'closed': closed},
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
        deleted, place = 0, Place(-(2**63), '')
        with self._failures():
            record = self.record()
            until = min(before, record.delivered)
            self._log.update_one({**RECORD, 'log': record.log}, {'$max': {'purged': DatetimeMS(until)}})
            while True:
                portion = list(
                    self._events.find(span(place, Place.after(until)), ('time', 'movedTo')).sort(FORWARD).limit(BATCH)
                )
                # Where the log was reopened, `until` may lie in its future; what was found before is of its past.
                if self.record().log != record.log:
                    return deleted
                if not portion:
                    self._purge_series(until)
                    return deleted
                place = Place(int(portion[-1]['time']), str(portion[-1]['_id']))
                past = self._changes.past(portion, until)
                deleted += self._events.delete_many(with_ids(past)).deleted_count

    def _purge_series(self, until: int) -> None:
        last = key('0' * 24)
        while True:
            ended = {'ended': True, 'made': {'$lte': DatetimeMS(until)}, '_id': {'$gt': last}}
            ids = [document['_id'] for document in self._series.find(ended, ('_id',)).sort('_id').limit(BATCH)]
            if not ids:
                return
            last = ids[-1]
            entries = self._events.find({'series': {'$in': [str(id) for id in ids]}}, ('series',))
            kept = {document['series'] for document in entries}
            gone = [id for id in ids if str(id) not in kept]
            self._series.delete_many({'_id': {'$in': gone}, 'ended': True})

    def read(
        self, after: Place, until: Place, limit: int, channels: Channels = None, cancelled: bool = False
    ) -> Sequence[Event]:
        with self._failures():
            found = self._events.find(between(after, until, channels, cancelled), FIELDS, limit=limit, batch_size=limit)
            return [as_event(document) for document in found.sort(FORWARD)]

    def count(self, after: Place, until: Place, limit: int, channels: Channels = None) -> int:
        with self._failures():
            return self._events.count_documents(between(after, until, channels), limit=limit)

    def before(self, after: Place, until: Place, count: int, channels: Channels = None) -> Place:
        with self._failures():
            found = self._events.find(between(after, until, channels), ('time',)).sort(BACKWARD).skip(count).limit(1)
            places = [Place(int(document['time']), str(document['_id'])) for document in found]
        return places[0] if places else after

    # -- series -----------------------------------------------------------------------------------------------------

    def add_series(self, series: Series) -> Series:
        with self._failures():
            with suppress(DuplicateKeyError):
                self._series.insert_one(series_document(series))
            return as_series(self._series.find_one({'_id': key(series.id)}) or {})

    def get_series(self, id: str) -> Series | None:
        with self._failures():
            document = self._series.find_one({'_id': key(id)})
        return as_series(document) if document else None

    def replace_series(self, old: Series, new: Series) -> None:
        with self._failures():
            if not self._series.replace_one(same_series(old), series_document(new)).matched_count:
                raise Changed(f'{old.id} is not what it was')

    def replace_all_series(self, changes: Sequence[tuple[Series, Series]]) -> Sequence[bool]:
        with self._failures():
            if changes:
                writes = [ReplaceOne(same_series(old), series_document(new)) for old, new in changes]
                self._series.bulk_write(writes, ordered=False)
            ids = [key(new.id) for _, new in changes]
            kept = {found.id: found for found in map(as_series, self._series.find({'_id': {'$in': ids}}))}
            return [kept.get(new.id) == new for _, new in changes]

    def series_due(self, minute: int, limit: int) -> Sequence[Series]:
        with self._failures():
            due = {'ended': False, 'made': {'$lte': DatetimeMS(minute)}}
            return [as_series(document) for document in self._series.find(due).sort('made').limit(limit)]

    def list_series(self, after: str, limit: int, channels: Channels = None, ended: bool = False) -> Sequence[Series]:
        with self._failures():
            following: Document = {'_id': {'$gt': key(after or '0' * 24)}, **in_channels(channels)}
            if not ended:
                following['ended'] = False
            return [as_series(document) for document in self._series.find(following).sort('_id').limit(limit)]

    def occurrences(self, series: str, after: int, limit: int) -> Sequence[Event]:
        ahead = {'series': storable(series), 'due': {'$gt': DatetimeMS(after)}, **VISIBLE}
        with self._failures():
            found = self._events.find(ahead, FIELDS).sort([('due', ASCENDING), ('_id', ASCENDING)]).limit(limit)
            return [as_event(document) for document in found]

    # -- the fence --------------------------------------------------------------------------------------------------

    def _insert(self, events: list[Event]) -> Sequence[Event | Exception]:
        documents = [_new(event) for event in events]
        with self._failures(), pymongo.timeout(TIMEOUT):
            refused = self._insert_many(documents)
            taken = [documents[number] for number, error in refused.items() if error['code'] == _TAKEN]
            if taken:
                # Somebody has asked for these before. Where that `add` has not returned yet, it must not take back now
                # what this one may be about to promise.
                self._events.update_many(with_ids(taken), {'$unset': {'attempt': ''}})
            kept = [document for number, document in enumerate(documents) if number not in refused]
            record = self._raise_closed(0)
            while record.log != self._log_id:
                # A reopening may have marked what had been inserted just before, to be passed over by readers.
                self._log_id = record.log
                self._events.update_many(with_ids(kept), {'$set': {'delivered': False}})
                record = self._raise_closed(0)
            left = self._delete([document for document in kept if int(document['time']) <= record.closed])
            return [self._outcome(event, refused.get(number), record, left) for number, event in enumerate(events)]

    def _outcome(self, event: Event, refused: Document | None, record: Record, left: set[Any]) -> Event | Exception:
        """What has become of an event that was to be added, by what the database had to say about it."""
        if refused is None:
            if event.time > record.closed:
                return event
            if key(event.id) in left:
                return StoreUnavailable(f'{event.id} came late, but others have made something of it')
            return MinuteClosed(f'{iso(event.time)} is closed')
        if refused['code'] != _TAKEN:
            return StoreUnavailable(self._line(refused['errmsg']))
        return self._existing(event.id, record)

    def _existing(self, id: str, record: Record) -> Event | Exception:
        """The event of that id, which another `add` has made."""
        first = self._events.find_one({'_id': key(id)}, FIELDS)
        present = self._changes.find(id)
        if first is None or present is None:
            return StoreUnavailable(f'{id} was taken back just now')
        if record.delivered < int(first['time']) <= record.closed and 'cancelled' not in first:
            # It may have come too late for those who have read its minute, or be about to be taken back.
            return StoreUnavailable(f'whether {id} was in time is not known yet')
        return as_event(present)

    def _insert_many(self, documents: list[Document]) -> dict[int, Document]:
        """Inserts them, and returns the numbers of those that were refused, with the server's errors."""
        try:
            self._events.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            for failure in error.details['writeConcernErrors']:  # not durable, as far as the server knows
                raise PyMongoError(failure['errmsg']) from error
            return {failure['index']: failure for failure in error.details['writeErrors']}
        return {}

    def _delete(self, documents: list[Document]) -> set[Any]:
        """Deletes what nobody has touched; returns the `_id` of the others."""
        if not documents:
            return set()
        self._events.bulk_write([DeleteOne(untouched(document)) for document in documents], ordered=False)
        return {document['_id'] for document in self._events.find(with_ids(documents), ('_id',))}

    def _fence(self, callers: list[None]) -> Sequence[Record]:
        """What `closed` is after all that the callers have written: one reading serves them all."""
        return [self._raise_closed(0)] * len(callers)

    def _raise_closed(self, minute: int) -> Record:
        """Raises `closed` to at least `minute` and returns the record after that; 0 only reads it.

        It always changes the document, and waits for a majority, so that a primary which was deposed without knowing
        it cannot answer: what is returned is neither stale nor taken back later (MongoDB's manual on linearizable
        reads via findAndModify; read concern 'linearizable' would not work on a single server).
        """
        return as_record(
            self._log.find_one_and_update(
                RECORD,
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


def _new(event: Event) -> Document:
    """The document of a new event. Where others may ask for its id as well, it says whose it is."""
    is_shared = event.request is not None or event.series is not None
    return {'_id': key(event.id), **contents(event), **({'attempt': token_hex(8)} if is_shared else {})}
