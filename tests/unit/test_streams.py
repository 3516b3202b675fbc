"""How event streams live and end: what the sockets behind them do is made up here."""

from types import SimpleNamespace
from typing import Any, cast

import engineio
import pytest

from reminder.services.log import Start
from reminder.websocket import streams as module
from reminder.websocket.addresses import Shares
from reminder.websocket.counts import EXPIRED, STALLED, Counts
from reminder.websocket.encoded import Encoded
from reminder.websocket.events import HEARTBEAT
from reminder.websocket.handler import GOES_ON
from reminder.websocket.streams import Stream, Streams

INTERVAL, TIMEOUT = 25.0, 20.0
START = Start()
EXPIRES = 1_000
REASON = engineio.Server.reason


class Outbox:
    """Notes what is done with it; `on_its_way` are bytes that the client has not taken."""

    def __init__(self, sock: str, owner: Stream) -> None:
        self.owner = owner
        self.done: list[object] = []
        self.idle = True
        self.written = self.on_its_way = 0

    def start(self) -> None:
        self.done.append('start')

    def send(self, data: bytes) -> None:
        self.done.append(data)
        self.written += len(data)

    def backlog(self) -> int:
        return self.on_its_way

    def taken(self) -> int:
        return self.written - self.on_its_way

    def end(self) -> None:
        self.done.append('end')
        self.idle = False


class Deadlines:
    """Deadlines that are due when the test says so."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Any, tuple[Any, ...]]] = []

    def after(self, delay: float, function: Any, *arguments: Any) -> Any:
        deadline = (delay, function, arguments)
        self.set.append(deadline)

        def cancel() -> None:
            if deadline in self.set:
                self.set.remove(deadline)

        return SimpleNamespace(cancel=cancel)

    def pass_(self, delay: float) -> None:
        """Has all come that were set for `delay` seconds from when they were set."""
        due, self.set = [one for one in self.set if one[0] == delay], [one for one in self.set if one[0] != delay]
        for _, function, arguments in due:
            function(*arguments)


class Delivery:
    def __init__(self) -> None:
        self.told: list[tuple[str, Stream]] = []

    def join(self, stream: Stream, start: Start) -> None:
        assert start is START
        self.told.append(('join', stream))

    def leave(self, stream: Stream) -> None:
        self.told.append(('leave', stream))

    def ready(self, stream: Stream) -> None:
        self.told.append(('ready', stream))


class World:
    """The streams of a server with room for two."""

    def __init__(self) -> None:
        self.now = 0
        self.refused: list[int] = []
        self.deadlines = Deadlines()
        self.delivery = Delivery()
        ids = iter('abc')
        self.engine = SimpleNamespace(
            deadlines=self.deadlines,
            shares=Shares(2),
            stopping=False,
            address=lambda environ: environ['REMOTE_ADDR'],
            ping_interval=INTERVAL,
            ping_timeout=TIMEOUT,
            reason=REASON,
            counts=Counts(),
            count_full=lambda: self.refused.append(self.now),
            generate_id=lambda: next(ids),
        )
        self.streams = Streams(cast(Any, self.engine), cast(Any, self.delivery), lambda: self.now)

    def open(self, expires: int | None = None) -> Any:
        """A stream, whose answer was written."""
        environ: dict[str, Any] = {'REMOTE_ADDR': '192.0.2.1'}
        self.streams.open(environ, START, frozenset('x'), expires)
        environ[GOES_ON]('socket')
        return self.delivery.told[-1][1]

    @property
    def ended(self) -> dict[str, int]:
        """How many streams have ended, by reason."""
        return {reason: count for reason, count in self.engine.counts.ended.items() if count}

    @property
    def has_room(self) -> bool:
        return self.streams.has_room({'REMOTE_ADDR': '127.0.0.1'})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, 'Outbox', Outbox)
    return World()


def test_nothing_happens_before_the_answer_was_written(world: World) -> None:
    environ = {'REMOTE_ADDR': '127.0.0.1'}
    world.streams.open(environ, START, frozenset(), None)
    assert (world.delivery.told, world.deadlines.set, world.engine.shares.taken) == ([], [], 0)


def test_a_stream_reads_and_then_joins_with_its_channels(world: World) -> None:
    stream = world.open()
    assert stream.outbox.done == ['start']
    assert world.delivery.told == [('join', stream)]
    assert stream.channels == frozenset('x')


def test_it_writes_what_it_gets_as_events(world: World) -> None:
    stream = world.open()
    stream.write(Encoded([b'42["replayed",{}]']))
    assert stream.outbox.done[1:] == [b'event: replayed\ndata: {}\n\n']


def test_it_is_idle_as_its_outbox_is_and_tells_when_that_is_empty(world: World) -> None:
    stream = world.open()
    assert stream.idle
    stream.outbox.idle = False
    assert not stream.idle
    stream.drained()
    assert world.delivery.told[-1] == ('ready', stream)


def test_streams_have_a_share_of_the_connections_and_give_it_back(world: World) -> None:
    one, _ = world.open(), world.engine.shares.take('127.0.0.1')
    assert not world.has_room
    assert len(world.refused) == 1
    one.lost()
    assert world.has_room
    assert world.delivery.told[-1] == ('leave', one)
    assert world.ended == {REASON.TRANSPORT_CLOSE: 1}


def test_a_server_that_stops_has_no_room(world: World) -> None:
    assert world.has_room
    world.engine.stopping = True
    assert not world.has_room


def test_an_idle_stream_gets_a_sign_of_life_every_interval_and_one_that_waits_none(world: World) -> None:
    stream = world.open()
    for _ in range(2):
        world.deadlines.pass_(INTERVAL)
    assert stream.outbox.done[1:] == [HEARTBEAT] * 2
    stream.outbox.idle = False
    world.deadlines.pass_(INTERVAL)
    stream.outbox.idle = True
    world.deadlines.pass_(INTERVAL)
    assert stream.outbox.done[1:] == [HEARTBEAT] * 3


def test_who_takes_nothing_of_what_is_on_its_way_ends(world: World) -> None:
    stream = world.open()
    stream.outbox.on_its_way = len(HEARTBEAT)
    world.deadlines.pass_(INTERVAL)
    world.deadlines.pass_(TIMEOUT)
    assert stream.outbox.done[-1] == 'end'
    assert world.delivery.told[-1] == ('leave', stream)
    assert world.engine.shares.taken == 0
    assert world.ended == {STALLED: 1}


def test_who_takes_a_little_lives(world: World) -> None:
    stream = world.open()
    stream.outbox.on_its_way = 1_000
    stream.send(b'x' * 1_000)
    for left in range(900, 0, -100):
        stream.outbox.on_its_way = left
        world.deadlines.pass_(TIMEOUT)
        assert 'end' not in stream.outbox.done
    world.deadlines.pass_(TIMEOUT)
    assert stream.outbox.done[-1] == 'end'


def test_who_has_taken_all_is_not_looked_at(world: World) -> None:
    stream = world.open()
    stream.send(b'x')
    assert [delay for delay, *_ in world.deadlines.set] == [INTERVAL]
    stream.outbox.on_its_way = 1
    stream.send(b'x')
    stream.outbox.on_its_way = 0
    world.deadlines.pass_(TIMEOUT)
    assert [delay for delay, *_ in world.deadlines.set] == [INTERVAL]
    assert 'end' not in stream.outbox.done


def test_many_writes_are_looked_at_once(world: World) -> None:
    stream = world.open()
    stream.outbox.on_its_way = 1
    for _ in range(10):
        stream.send(b'x')
    assert [delay for delay, *_ in world.deadlines.set] == [INTERVAL, TIMEOUT]


def test_a_stream_ends_when_its_token_expires(world: World) -> None:
    stream, other = world.open(EXPIRES), world.open()
    world.now = EXPIRES - 1
    world.deadlines.pass_(1.0)
    assert 'end' not in stream.outbox.done
    world.now = EXPIRES
    world.deadlines.pass_(1.0)
    assert stream.outbox.done[-1] == 'end'
    assert 'end' not in other.outbox.done
    assert world.ended == {EXPIRED: 1}


def test_one_that_is_gone_has_no_deadlines_left(world: World) -> None:
    stream = world.open(EXPIRES)
    stream.outbox.on_its_way = 1
    stream.send(b'x')
    stream.lost()
    assert [delay for delay, *_ in world.deadlines.set] == [1.0]  # the look at all tokens
    world.now = EXPIRES
    world.deadlines.pass_(1.0)
    assert world.deadlines.set == []
    assert stream.outbox.done == ['start', b'x']


def test_all_end_when_the_server_stops(world: World) -> None:
    both = [world.open(), world.open()]
    world.streams.stop()
    assert [stream.outbox.done[-1] for stream in both] == ['end', 'end']
    assert world.engine.shares.taken == 0
    assert [stream for told, stream in world.delivery.told if told == 'leave'] == both
    assert world.ended == {REASON.SERVER_DISCONNECT: 2}
