"""Events, series of them, places in the log, and the log's record. Instants are integers: ms since 1970, UTC."""

import itertools
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

MINUTE = 60_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Place(NamedTuple):
    """A position in the log, which is ordered by `(time, id)`. To read on from a place is to read what is greater.

    `time` is an instant (ms, UTC), `id` the id of the event that was read last. `Place(time, '')` lies before every
    event of that instant, so the end of all that is due up to `minute` is `Place.after(minute)`.
    """

    time: int
    id: str

    @classmethod
    def after(cls, instant: int) -> 'Place':
        """The place behind every event whose time is `instant` (ms, UTC) or earlier, before all later ones."""
        return cls(instant + 1, '')


@dataclass(frozen=True, slots=True)
class Event:
    """Something that people are to be reminded of.

    `id` is 24 hexadecimal digits (an ObjectId in MongoDB); `time` the instant it is due (ms, UTC). `local_time`
    ('YYYY-MM-DD HH:mm') and `zone` (IANA name) are what was asked for; None in events of the Node.js server.

    The rest is None in a plain event. `channel`: who is reminded, all where there is none. `payload`: JSON text that
    clients get along. `series`: the id of the series whose occurrence this is. `owner`: the subject of the token that
    it was scheduled with. `request`: a digest of what was asked for under a key, so that the same key with other data
    can be told. `cancelled`: it is kept, but nobody is reminded.

    `entry`: the id of its entry in the log, where that is not `id`: a store may have to move an event to another time
    by way of a new entry.
    """

    id: str
    name: str
    time: int
    local_time: str | None = None
    zone: str | None = None
    channel: str | None = None
    payload: str | None = None
    series: str | None = None
    owner: str | None = None
    request: str | None = None
    cancelled: bool = False
    entry: str | None = None

    @property
    def place(self) -> Place:
        return Place(self.time, self.entry or self.id)

    def reminder(self) -> dict[str, Any]:
        """What clients get of it: the ack's `response` and the one argument of `eventReminder`, key for key.

        A plain event has these three keys and no others.
        """
        return {'name': self.name, 'time': iso(self.time), '_id': self.id, **extras(self)}


@dataclass(frozen=True, slots=True)
class Series:
    """A repeating event: what its occurrences, which are events of their own, are made from.

    `id` is of the form of an event's. `repeat` is the text of an RFC 5545 RRULE; `local_time` and `zone` are where it
    begins. `name`, `channel`, `payload`, `owner`, `request` are as in `Event`. `made` is the instant (ms, UTC) up to
    which its occurrences have entries in the log; 1 ms more just after a change, as long as entries from before it may
    have to be taken back. `revision` counts its changes: occurrences that were made before one have other ids than
    those made after it. `ended`: no further occurrence will be made.
    """

    id: str
    name: str
    repeat: str
    local_time: str
    zone: str
    made: int
    revision: int = 0
    channel: str | None = None
    payload: str | None = None
    owner: str | None = None
    request: str | None = None
    ended: bool = False

    @property
    def changed(self) -> bool:
        """Whether there may be entries from before its last change."""
        return self.made % MINUTE > 0


def extras(of: Event | Series) -> dict[str, Any]:
    """What clients get of an event or a series beside what all of them have."""
    extras: dict[str, Any] = {}
    if of.channel is not None:
        extras['channel'] = of.channel
    if of.payload is not None:
        extras['payload'] = json.loads(of.payload)
    if isinstance(of, Event) and of.series is not None:
        extras['series'] = of.series
    return extras


@dataclass(frozen=True, slots=True)
class Record:
    """The log's record, one a store. All but `log` are instants (ms, UTC).

    `log` is the log's random id: 16 hexadecimal digits. It began at `opened`, when it was made or last reopened.
    What is due up to `closed` never changes again. What is due up to `delivered` was handed to the connections of
    some server. What was due up to `purged` may have been deleted.
    """

    log: str
    opened: int
    closed: int
    delivered: int
    purged: int


def derived_id(*parts: str) -> str:
    """The id, of an event's form, that always follows from these texts."""
    return sha256(json.dumps(parts).encode()).hexdigest()[:24]


_PROCESS = os.urandom(5).hex()
_COUNTER = itertools.count(int.from_bytes(os.urandom(3), 'big'))


def new_id(now: int) -> str:
    """A fresh event id, of the form and growth of MongoDB's ObjectId: seconds of `now` (ms, UTC), process, counter."""
    return f'{now // 1000 & 0xFFFFFFFF:08x}{_PROCESS}{next(_COUNTER) & 0xFFFFFF:06x}'


@lru_cache(4096)  # the events of a minute share it
def iso(instant: int) -> str:
    """`instant` (ms, UTC) as clients know it: '2020-11-29T22:30:00.000Z'."""
    return (_EPOCH + instant * _MILLISECOND).isoformat(timespec='milliseconds').replace('+00:00', 'Z')


def instant(moment: datetime) -> int:
    """The instant (ms, UTC) of an aware datetime, rounded down to a millisecond."""
    return (moment - _EPOCH) // _MILLISECOND
