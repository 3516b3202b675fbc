"""Events, series and the log's record as documents of MongoDB, and the questions that are put to them.

An event is `{_id: ObjectId, name, time: Date, localTime, timeZone}`, the Node.js server's form. What else it
has (`channel`, `payload`, ... as in `Event`) is a field only where there is such a thing, and so are these:

- `attempt`: the token of the `add` that made it, where another one can ask for the same id.
- `claim`: the token of a change that is under way.
- `movedTo`: of an event that was moved to another time, the entry that it has now; this one is `cancelled`.
- `entryOf`: the id of the event that was moved to this entry.
- `movedFrom`: the entry that it comes from, while that has not said, or may not have said, that it has moved here.
- `due`: the `time` of a series' occurrence, for an index that plain events do not burden.

Any other program's fields (mongoose adds `__v`) are left alone.
"""

import re
from collections.abc import Sequence
from typing import Any

from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import PyMongoError

from reminder.models.event import Event, Place, Record, Series
from reminder.models.store import Channels

Document = dict[str, Any]

RECORD = {'_id': 'log'}
INSTANTS = ('opened', 'closed', 'delivered', 'purged')
FORWARD = [('time', ASCENDING), ('_id', ASCENDING)]
BACKWARD = [('time', DESCENDING), ('_id', DESCENDING)]

_OPTIONAL = ('channel', 'payload', 'series', 'owner', 'request')
_PROTOCOL = ('attempt', 'claim', 'movedTo', 'entryOf', 'movedFrom')
_OURS = ('name', 'time', 'localTime', 'timeZone', *_OPTIONAL, 'cancelled', *_PROTOCOL)
FIELDS = (*_OURS, 'delivered')
"""What is read of an event."""
VISIBLE: Document = {'delivered': {'$ne': True}, 'cancelled': {'$ne': True}, 'movedFrom': {'$exists': False}}
"""The query for what readers see."""
WITH_CANCELLED: Document = {'delivered': {'$ne': True}, 'movedTo': {'$exists': False}, 'movedFrom': {'$exists': False}}
"""That for what readers see, or would if it was not cancelled."""

EVENT_INDEXES = [
    IndexModel(FORWARD),
    # Only of what has these fields, so that plain events cost nothing.
    IndexModel([('claim', ASCENDING)], sparse=True),
    IndexModel([('series', ASCENDING), ('due', ASCENDING)], sparse=True),
]
SERIES_INDEXES = [IndexModel([('ended', ASCENDING), ('made', ASCENDING)])]

_OBJECT_ID = re.compile('[0-9a-f]{24}')
_MISSING = {'$exists': False}


# -- events ---------------------------------------------------------------------------------------------------------


def contents(event: Event) -> Document:
    """What a document says of an event; its `_id`, and how it is kept, are not among it."""
    document: Document = {'name': event.name, 'time': DatetimeMS(event.time)}
    document |= {'localTime': event.local_time, 'timeZone': event.zone, **_optional(event)}
    if event.series is not None:
        document['due'] = document['time']
    if event.cancelled:
        document['cancelled'] = True
    return document


def as_event(document: Document) -> Event:
    """The event of a document, whoever wrote it: only its time is known to be what it should."""
    name = document.get('name')
    return Event(
        id=str(document.get('entryOf', document['_id'])),
        name='' if name is None else str(name),
        time=int(document['time']),
        local_time=_text(document, 'localTime'),
        zone=_text(document, 'timeZone'),
        **{field: _text(document, field) for field in _OPTIONAL},
        cancelled=document.get('cancelled') is True,
        entry=str(document['_id']) if 'entryOf' in document else None,
    )


def is_event(document: Document | None) -> bool:
    """Whether it has a time; the database holds what other programs wrote, too."""
    return document is not None and isinstance(document.get('time'), DatetimeMS)


def becoming(event: Event) -> Document:
    """The update by which an entry, which is claimed, comes to say what `event` is."""
    document = contents(event)
    gone = [field for field in (*_OPTIONAL, 'cancelled', 'claim') if field not in document]
    return {'$set': document, '$unset': dict.fromkeys(gone, '')}


def untouched(document: Document) -> Document:
    """The query that finds a document only if it is still what it was, field by field, but for a mark."""
    query = {field: {'$eq': document[field]} if field in document else _MISSING for field in _OURS}
    return {'_id': document['_id'], **query}


def with_ids(documents: Sequence[Document]) -> Document:
    """The query for those documents."""
    return {'_id': {'$in': [document['_id'] for document in documents]}}


def key(id: str) -> ObjectId | str:
    """The `_id` of an event or a series."""
    return ObjectId(id) if _OBJECT_ID.fullmatch(id) else storable(id)


def storable(text: str) -> str:
    """`text` without halves of surrogate pairs, which BSON refuses; no id has any."""
    return text.encode(errors='replace').decode()


def between(after: Place, until: Place, channels: Channels = None, cancelled: bool = False) -> Document:
    """What readers see in `(after, until]`, or that and what was cancelled, but for entries that moved elsewhere."""
    visible = WITH_CANCELLED if cancelled else VISIBLE
    return {**span(after, until), **visible, **in_channels(channels)}


def span(after: Place, until: Place) -> Document:
    """What lies in `(after, until]`, in spans for which MongoDB walks along the index `(time, _id)` and merges."""
    first, last = DatetimeMS(after.time), DatetimeMS(until.time)
    # Comparisons find dates only, and lists that hold one, which are no times.
    end: Document = {'$lte' if until.id else '$lt': last, '$not': {'$type': 'array'}}
    spans: list[Document] = [{'time': {'$gt' if after.id else '$gte': first, **end}}]
    if after.id:
        spans.append({'time': {'$eq': first, **end}, '_id': {'$gt': key(after.id)}})
    query: Document = {'$or': spans}
    if until.id:
        query['$nor'] = [{'time': last, '_id': {'$gt': key(until.id)}}]
    return query


def in_channels(channels: Channels) -> Document:
    """The query for what has none but these channels."""
    return {} if channels is None else {'channel': {'$in': [None, *sorted(map(storable, channels))]}}


# -- series and the record ------------------------------------------------------------------------------------------


def series_document(series: Series) -> Document:
    """The document of a series."""
    return {
        '_id': key(series.id),
        'name': series.name,
        'repeat': series.repeat,
        'localTime': series.local_time,
        'timeZone': series.zone,
        'made': DatetimeMS(series.made),
        'revision': series.revision,
        'ended': series.ended,
        **_optional(series),
    }


def same_series(series: Series) -> Document:
    """The query that finds a series only if it is still what it was."""
    return {**dict.fromkeys(_OPTIONAL), **series_document(series)}


def as_series(document: Document) -> Series:
    """The series of a document that `series_document` has made."""
    return Series(
        id=str(document['_id']),
        name=document['name'],
        repeat=document['repeat'],
        local_time=document['localTime'],
        zone=document['timeZone'],
        made=int(document['made']),
        revision=document['revision'],
        **{field: document.get(field) for field in _OPTIONAL if field != 'series'},
        ended=document['ended'],
    )


def as_record(document: Document | None) -> Record:
    """The log's record. Raises PyMongoError where it is missing."""
    if document is None:
        raise PyMongoError("the log's record is missing in the collection 'eventLog'")
    return Record(document['log'], *(int(document[field]) for field in INSTANTS))


def _optional(kept: Event | Series) -> Document:
    fields = {field: getattr(kept, field, None) for field in _OPTIONAL}
    return {field: value for field, value in fields.items() if value is not None}


def _text(document: Document, field: str) -> str | None:
    value = document.get(field)
    return value if isinstance(value, str) else None
