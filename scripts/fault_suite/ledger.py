"""The ledger: every event that was asked for, every reminder that each client got, and what follows from both.

A client's calls come from its own threads; nothing here blocks. Instants are seconds since 1970, as this machine's
clock shows them, except where ms is said.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any, NamedTuple

from reminder.models.event import instant, iso
from reminder.services.offsets import parse_offset

Place = tuple[str, str]
"""`(time, _id)` of a reminder, by which the log is ordered. ISO times of one form compare as they lie in time."""
Reminder = dict[str, Any]

NOWHERE: Place = ('', '')
BEFORE = 1.0
"""A client that knows no offset is owed what falls due at least so long (s) after it connected ..."""
AFTER = 10.0
"""... if its connection lasts so long after somebody was reminded of it: that a server hangs, clients notice sooner."""
LATEST = 30.0
"""When (s after the minute) somebody must have been reminded of it: no outage lasts longer."""
EARLY = 0.05
"""How much sooner (s) a reminder may seem to come than the clocks of two processes say."""
SHOWN = 5
"""Examples of each kind of finding."""

UNANSWERED, ACKED, REFUSED, FAILED = 'not answered', 'acked', 'refused', 'failed'


@dataclass(slots=True)
class Ask:
    """A command that asked for an event, and what became of it, within `took` seconds of `began` (monotonic)."""

    outcome: str = UNANSWERED
    event: Reminder | None = None
    began: float = field(default_factory=time.monotonic)
    took: float = math.nan


class Receipt(NamedTuple):
    """When a client was first reminded of an event, and over which of its connections."""

    at: float
    connection: int


@dataclass(slots=True)
class Span:
    """How long a connection stood."""

    opened: float
    closed: float = math.inf


@dataclass(slots=True)
class Row:
    """The verdict on all clients of a kind. Numbers are of reminders, lateness is in seconds (NaN: none came)."""

    kind: str
    clients: int = 0
    owed: int = 0
    delivered: int = 0
    lost: int = 0
    explained: int = 0
    unexplained: int = 0
    wrong: int = 0
    median: float = math.nan
    worst: float = math.nan

    @property
    def good(self) -> bool:
        return not (self.lost or self.unexplained or self.wrong)


class Receiver:
    """What one client got.

    `resumes`: it gives the server its last offset when it connects again, so it is owed everything. `ordered`: it
    handles what arrives in the order in which it arrives (the official Python client has a thread for each message).
    """

    def __init__(self, ledger: 'Ledger', kind: str, *, resumes: bool, ordered: bool) -> None:
        self.kind = kind
        self.receipts: dict[str, Receipt] = {}
        self.explained = 0
        self.unexplained = 0
        self.wrong = 0
        self.examples: list[str] = []
        self.knows_offset = False
        """Whether the client was told an offset. It says so itself."""
        self.resumes = resumes
        self._ledger = ledger
        self._ordered = ordered
        self._spans: list[Span] = []
        self.connections = 0
        """How many it has begun to make."""
        self._from = NOWHERE

    @property
    def connected(self) -> bool:
        return bool(self._spans) and self._spans[-1].closed == math.inf

    @property
    def begun(self) -> bool:
        """Whether the client is connected and, if it resumes, can do so from now on."""
        return self.connected and (self.knows_offset or not self.resumes)

    def opening(self, offset: str | None) -> None:
        """The client connects and says that it has everything up to `offset`."""
        since = parse_offset(offset)
        self._from = (iso(since.place.time), since.place.id) if since else NOWHERE
        self.connections += 1
        self.closed()  # the official Python client does not tell of a connection that breaks while it is being made

    def opened(self, recovered: bool = True) -> None:
        """The server took the connection; `recovered`: it recognized the client, where that had said who it is."""
        self._spans.append(Span(time.time()))
        if self._from != NOWHERE and not recovered:
            self._find('was not recovered')

    def closed(self) -> None:
        """The client noticed that its connection is gone. May be said twice."""
        if self.connected:
            self._spans[-1].closed = time.time()

    def replayed(self, arguments: Sequence[Any]) -> None:
        """The server said how it resumed; nothing that this program does may make that incomplete."""
        match arguments:
            case [{'count': int(), 'complete': True}]:
                pass
            case _:
                self._find(f'was resumed with {arguments!r}')

    def reminder(self, arguments: Sequence[Any], at: float) -> None:
        """An `eventReminder` with these arguments came at `at`."""
        match arguments:
            case [{'name': str() as name, 'time': str() as due, '_id': str() as id, **rest} as event] if not rest:
                pass
            case _:
                self._find(f'got an eventReminder with the arguments {arguments!r}')
                return
        if event != self._ledger.known(event):
            self._find(f'was reminded of {event}, elsewhere known as {self._ledger.known(event)}')
        first = self.receipts.get(id)
        in_order = (due, id) > self._from
        if first is None:
            self.receipts[id] = Receipt(at, self.connections)
            if self._ordered and not in_order:
                self._find(f'was reminded of {name} after what lies behind it')
        elif in_order and first.connection < self.connections:
            self.explained += 1  # the connection broke before the client was told the offset behind it
        else:
            self.unexplained += 1
            self._example(f'was reminded of {name} again, though it had said that it has it')
        if self._ordered and in_order:
            self._from = (due, id)

    def stood(self, due: float, seen: float) -> bool:
        """Whether it was connected when an event fell due, and for long enough after somebody was reminded of that."""
        return any(one.opened <= due - BEFORE and one.closed >= seen + AFTER for one in self._spans)

    def _find(self, text: str) -> None:
        self.wrong += 1
        self._example(text)

    def _example(self, text: str) -> None:
        if len(self.examples) < SHOWN:
            self.examples.append(f'{self.kind}: connection {self.connections} {text}')


class Ledger:
    """All asks and all receivers."""

    def __init__(self, real: Callable[[int], float], foreign: tuple[str, ...] = ()) -> None:
        """`real` says when (s) an instant (ms) by the servers' clock comes, by this machine's.

        Others ask for events whose names begin with one of `foreign`: they may come, and nobody is owed them.
        """
        self._real = real
        self._foreign = foreign
        self._asks: dict[str, Ask] = {}
        self._events: dict[str, Reminder] = {}
        self._receivers: list[Receiver] = []
        self.failures: dict[str, int] = {}
        """What commands were answered that failed otherwise than by coming too late, and how often."""
        self.problems: list[str] = []
        """Answers that contradict what was known."""

    # -- what is told to it -----------------------------------------------------------------------------------------

    def receiver(self, kind: str, *, resumes: bool, ordered: bool) -> Receiver:
        """The record of a new client."""
        receiver = Receiver(self, kind, resumes=resumes, ordered=ordered)
        self._receivers.append(receiver)
        return receiver

    def asked(self, name: str) -> None:
        """An event of that name, which no other has, is about to be asked for."""
        self._asks[name] = Ask()

    def answered(self, name: str, answer: Any) -> None:
        """The command that asked for it was answered."""
        ask = self._asks[name]
        ask.took = time.monotonic() - ask.began
        match answer:
            case {'status': 'success', 'response': dict() as event}:
                ask.event = event
                ask.outcome = ACKED
                if self.known(event) != event:
                    self.problems.append(f'acked {event}, elsewhere known as {self.known(event)}')
            case {'status': 'failure', 'error': str() as error} if 'should be in future' in error:
                ask.outcome = REFUSED
            case _:
                ask.outcome = FAILED
                error = str(answer.get('error', answer)) if isinstance(answer, dict) else str(answer)
                self.failures[error] = self.failures.get(error, 0) + 1

    def known(self, event: Reminder) -> Reminder:
        """The event of that `_id` as it was first seen, in an ack or a reminder."""
        return self._events.setdefault(event['_id'], event)

    # -- what follows -----------------------------------------------------------------------------------------------

    def count(self, outcome: str) -> int:
        """How many asks ended so, so far."""
        return sum(ask.outcome == outcome for ask in list(self._asks.values()))

    def answer_times(self) -> list[float]:
        """How long (s) each answer so far was waited for."""
        return [ask.took for ask in list(self._asks.values()) if ask.outcome != UNANSWERED]

    def due_at(self, minute: int) -> int:
        """How many acked events are due at a minute (ms)."""
        return sum(event['time'] == iso(minute) for event in list(self._events.values()))

    @property
    def received(self) -> int:
        """How many reminders came, repeated ones not counted."""
        return sum(len(receiver.receipts) for receiver in self._receivers)

    @property
    def all_know_an_offset(self) -> bool:
        """Whether each client that resumes was told an offset, and each other one is connected."""
        return all(receiver.begun for receiver in self._receivers)

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self._receivers)

    @property
    def connected(self) -> int:
        """How many of them are connected."""
        return sum(receiver.connected for receiver in self._receivers)

    def refused_yet_delivered(self) -> int:
        """How many events reached clients although who asked for them was told that they came too late."""
        received = {id for receiver in self._receivers for id in list(receiver.receipts)}
        return sum(
            ask.outcome == REFUSED for event in self._of(received) if (ask := self._asks.get(event['name'])) is not None
        )

    def examples(self) -> list[str]:
        """Some of what is wrong, in words."""
        found = [example for receiver in self._receivers for example in receiver.examples]
        for receiver in self._receivers:
            lost = [event for event, _ in self._owed(receiver) if event['_id'] not in receiver.receipts]
            for event in lost[:SHOWN]:
                others = sum(event['_id'] in other.receipts for other in self._receivers)
                found.append(f'{receiver.kind}: lost {event}, which {others} of {len(self._receivers)} clients got')
        return list(dict.fromkeys(found))

    def verdict(self) -> list[Row]:
        """A row for each kind of client, in the order in which they were introduced."""
        rows: dict[str, Row] = {}
        lateness: dict[str, list[float]] = {}
        for receiver in self._receivers:
            row = rows.setdefault(receiver.kind, Row(receiver.kind))
            row.clients += 1
            row.explained += receiver.explained
            row.unexplained += receiver.unexplained
            row.wrong += receiver.wrong + self._strangers(receiver)
            late = lateness.setdefault(receiver.kind, [])
            for event, due in self._owed(receiver):
                receipt = receiver.receipts.get(event['_id'])
                row.owed += 1
                if receipt is None:
                    row.lost += 1
                    continue
                row.delivered += 1
                row.wrong += receipt.at < due - EARLY
                late.append(receipt.at - due)
        for kind, row in rows.items():
            if lateness[kind]:
                row.median, row.worst = median(lateness[kind]), max(lateness[kind])
        return list(rows.values())

    def _owed(self, receiver: Receiver) -> Iterator[tuple[Reminder, float]]:
        """The acked events that have to reach a client, and when they fell due."""
        due: dict[str, float] = {}
        for ask in list(self._asks.values()):
            if ask.outcome == ACKED and ask.event is not None:
                text = ask.event['time']
                if text not in due:
                    due[text] = self._real(instant(datetime.fromisoformat(text)))
                if receiver.resumes or receiver.stood(due[text], self._first_seen(ask.event, due[text])):
                    yield ask.event, due[text]

    def _first_seen(self, event: Reminder, due: float) -> float:
        receipts = [receipt.at for one in self._receivers if (receipt := one.receipts.get(event['_id'])) is not None]
        return min(receipts, default=due + LATEST)

    def _strangers(self, receiver: Receiver) -> int:
        """How many events a client was reminded of that nobody had asked for."""
        return sum(
            event['name'] not in self._asks and not event['name'].startswith(self._foreign)
            for event in self._of(list(receiver.receipts))
        )

    def _of(self, ids: Iterable[str]) -> Iterator[Reminder]:
        return (self._events[id] for id in ids)
