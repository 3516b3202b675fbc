"""How an event that is kept in MongoDB changes: by a claim, the fence, and one decision on one document.

A change sets a claim, a token, on the entry that it has looked at, unless that is not any longer what it was. It then
reads `closed`, and decides: the entry takes on what it is to be, if it still has the claim. Whoever closes a minute
removes the claims from its entries before reading it. So a change whose claim was set after that sees that the minute
is closed, and one whose claim was set before has been decided by then, or will never be: all who read the minute after
closing it find the same.

An event that moves to another time gets a new entry there, as the order in the log is that of time. It is inserted
before `closed` is read, and does not count until the old entry names it, which is the decision: one compare-and-set,
by which the event leaves the one minute and comes to the other. The token is the new entry's id. Whoever closes the
minute of such an entry removes the old one's claim before looking at what that says.

What a server leaves behind that dies in between is put in order when the next minute is closed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bson import ObjectId
from pymongo.collection import Collection

from reminder.errors import Changed, MinuteClosed
from reminder.models.event import Event, Record, iso
from reminder.models.mongo_documents import FIELDS, Document, as_event, becoming, contents, is_event, key, untouched

_DECIDED = {'$unset': {'claim': '', 'movedFrom': ''}}


class Changes:
    """The changes of the events of one collection. Raises what the driver raises, beside what its verbs name."""

    def __init__(self, events: Collection[Document], record: Callable[[], Record], fence: Callable[[], Record]) -> None:
        """`record` reads the log's record; `fence` does so too, after all writes that were acknowledged before."""
        self._events = events
        self._record = record
        self._fence = fence

    def find(self, id: str) -> Document | None:
        """The entry that the event of that id has now, or None."""
        _, entry = self._find(id)
        return entry

    def replace(self, old: Event, new: Event) -> Event:
        """Makes `old` become `new`, and returns it as it is kept. Raises Changed, MinuteClosed."""
        log = self._record().log
        first, entry = self._find(old.id)
        if first is None or entry is None or as_event(entry) != old:
            raise Changed(f'{old.id} is not what it was')
        if entry.get('delivered') is True:
            raise MinuteClosed(f'{old.id} counts as delivered')
        claim = ObjectId()
        # Where others have a claim, this one takes its place: they may be dead, and if not, they are told.
        claiming = {'$set': {'claim': claim}, '$unset': {'attempt': '', 'movedFrom': ''}}
        if not self._events.update_one(untouched(entry), claiming).matched_count:
            raise Changed(f'{old.id} is not what it was')
        moves, earliest = new.time != old.time, min(old.time, new.time)
        if moves:
            origin = {'_id': claim, 'entryOf': first['_id'], 'movedFrom': entry['_id'], 'claim': claim}
            self._events.insert_one(contents(new) | origin)
        if not self._is_open(log, earliest) or not self._decide(entry['_id'], claim, None if moves else new):
            self._release(entry['_id'], claim)
            if moves:
                self._events.delete_one(_claimed(claim, claim))
            if self._record().closed >= earliest:
                raise MinuteClosed(f'{iso(earliest)} is closed')
            raise Changed(f'{old.id} is being changed')
        if moves:
            self._events.update_one(_claimed(claim, claim), _DECIDED)
            self._shorten(first, entry, claim)
        return replace(new, entry=str(claim) if moves else old.entry)

    def settle(self, closed: int) -> None:
        """Puts an end to what is undecided and concerns a minute up to `closed`; finishes what was decided."""
        for document in self._events.find({'claim': {'$exists': True}}, FIELDS):
            if not is_event(document) or not isinstance(document['claim'], ObjectId):
                continue  # another program's
            is_closed = int(document['time']) <= closed
            if 'movedFrom' in document:
                self._judge(document, is_closed)
            elif is_closed:
                self._release(document['_id'], document['claim'])

    def past(self, documents: Sequence[Document], until: int) -> Sequence[Document]:
        """Of entries that are due up to `until`, those that are not needed any more when all that is due up to then is
        deleted: clients know an event that has moved to a later time by its first entry."""
        present = {document['_id']: document for document in documents}
        while moved := {id: document['movedTo'] for id, document in present.items() if 'movedTo' in document}:
            found = self._events.find({'_id': {'$in': list(moved.values())}}, ('time', 'movedTo'))
            targets = {document['_id']: document for document in found}
            present |= {id: targets.get(target, {'time': until}) for id, target in moved.items()}
        return [document for document in documents if int(present[document['_id']]['time']) <= until]

    def _judge(self, entry: Document, is_closed: bool) -> None:
        """Finds out whether an event has moved to that entry; where its minute is closed, once and for all."""
        id, source = entry['_id'], entry['movedFrom']
        if is_closed:
            self._release(source, id)
        if self._events.find_one({'_id': source, 'movedTo': id}, ('_id',)):
            self._events.update_one(_claimed(id, id), _DECIDED)
        elif is_closed:
            self._events.delete_one(_claimed(id, id))

    def _find(self, id: str) -> tuple[Document | None, Document | None]:
        """The entry that gave the event its id, and the one that it has now."""
        first = entry = self._events.find_one({'_id': key(id), 'entryOf': {'$exists': False}}, FIELDS)
        while entry and 'movedTo' in entry:
            entry = self._events.find_one({'_id': entry['movedTo']}, FIELDS)
        return first, entry if is_event(entry) else None

    def _is_open(self, log: str, minute: int) -> bool:
        """Whether that minute is open after what was written so far, and was so all the time since `log` was seen."""
        fence = self._fence()
        # A log that was reopened meanwhile may have marked, to be passed over, what is about to be changed.
        return fence.log == log and fence.closed < minute

    def _decide(self, id: Any, claim: ObjectId, new: Event | None) -> bool:
        """Makes an entry say what is new, or that the event has moved; False where it is not claimed any more."""
        moved = {'$set': {'cancelled': True, 'movedTo': claim}, '$unset': {'claim': ''}}
        return self._events.update_one(_claimed(id, claim), becoming(new) if new else moved).matched_count == 1

    def _shorten(self, first: Document, entry: Document, target: ObjectId) -> None:
        """Has the first entry of an event that moved again name the last one, which does not need that any more."""
        if first['_id'] != entry['_id']:
            self._events.update_one({'_id': first['_id'], 'movedTo': first['movedTo']}, {'$set': {'movedTo': target}})

    def _release(self, id: Any, claim: ObjectId) -> None:
        self._events.update_one(_claimed(id, claim), {'$unset': {'claim': ''}})


def _claimed(id: Any, claim: ObjectId) -> Document:
    return {'_id': id, 'claim': claim}
