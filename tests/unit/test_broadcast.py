"""What reminders look like to Socket.IO clients, and the greenlet that lets those which are behind read on."""

import json
import logging
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.event import Event as Signal

from reminder.errors import StoreUnavailable
from reminder.models.event import Event
from reminder.websocket import broadcast as module
from reminder.websocket.broadcast import CatchUp, Connection, SocketIOWire
from reminder.websocket.frames import frame
from reminder.websocket.turns import give_turn

WIRE = SocketIOWire()


def arguments(packet: bytes) -> list[Any]:
    """The event's name and arguments, of a Socket.IO EVENT in an Engine.IO message."""
    assert packet.startswith(b'42[')
    value: list[Any] = json.loads(packet[2:])
    return value


class TestWire:
    @pytest.mark.parametrize('name', ['Stand-up', '"quoted" \\ \x1e \u2028', '\u00fc\u4e2d\U0001f600', '</script>'])
    def test_a_reminder_has_one_argument_which_is_what_was_acked(self, name: str) -> None:
        event = Event('0123456789abcdef01234567', name, 1_606_689_000_000, '2020-11-29 23:30', 'Europe/Berlin')
        assert arguments(WIRE.reminder(event)) == ['eventReminder', event.reminder()]

    def test_no_packet_holds_the_byte_that_separates_packets_on_long_polling(self) -> None:
        assert b'\x1e' not in WIRE.reminder(Event('a', '\x1e', 0))

    def test_a_cursor_ends_in_a_string_which_is_what_official_clients_remember(self) -> None:
        assert arguments(WIRE.cursor('offset')) == ['cursor', 'offset']

    def test_nothing_else_ends_in_a_string(self) -> None:
        packets = [WIRE.reminder(Event('a', 'b', 0)), WIRE.replayed(3, True)]
        assert not any(isinstance(arguments(packet)[-1], str) for packet in packets)

    @pytest.mark.parametrize(('count', 'complete'), [(0, True), (10_000, False)])
    def test_the_end_of_a_replay(self, count: int, complete: bool) -> None:
        assert arguments(WIRE.replayed(count, complete)) == ['replayed', {'count': count, 'complete': complete}]

    def test_packets_are_encoded_once_and_cut_for_those_that_need_only_some(self) -> None:
        encoded = WIRE.encode([b'a' * 10, b'b' * 200, b'c' * 70_000, b'd'])
        assert encoded.frames == b''.join(map(frame, encoded.packets))
        for first in range(5):
            for last in range(first, 5):
                part = encoded.cut(first, last, [b'tail'])
                assert list(part.packets) == [*encoded.packets[first:last], b'tail']
                assert part.frames == b''.join(map(frame, part.packets))

    def test_of_packets_that_were_encoded_some_can_be_selected(self) -> None:
        encoded = WIRE.encode([b'a' * 10, b'b' * 200, b'c' * 70_000, b'd'])
        for count in range(5):
            for numbers in combinations(range(4), count):
                part = encoded.select(numbers)
                assert list(part.packets) == [encoded.packets[number] for number in numbers]
                assert part.frames == b''.join(map(frame, part.packets))
                assert part.cut(0, count, [b'tail']).frames == part.frames + frame(b'tail')


def test_a_connection_writes_to_its_session() -> None:
    class Session:
        idle = True
        written: list[Any] = []  # noqa: RUF012

        def write_chunk(self, chunk: Any) -> None:
            self.written.append(chunk)

    session: Any = Session()
    connection = Connection(session, frozenset({'team'}))
    chunk = WIRE.encode([b'a'])
    connection.write(chunk)
    assert (session.written, connection.idle, connection.channels) == ([chunk], True, frozenset({'team'}))
    session.idle = False
    assert not connection.idle


class FakeDelivery:
    """So much to do, all of it by one of its two verbs; that may be made to fail."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.left = 0
        self.done = 0
        self.failures: list[Exception] = []
        self.blocked = Signal()
        """Where the other verb is, once it is called, as if the store did not answer."""

    def step(self) -> bool:
        return self._do('step')

    def read(self) -> bool:
        return self._do('read')

    def _do(self, verb: str) -> bool:
        if verb != self.verb:
            self.blocked.wait()
        if self.failures:
            raise self.failures.pop(0)
        if not self.left:
            return False
        self.left -= 1
        self.done += 1
        return True


class TestCatchUp:
    @pytest.fixture
    def sleeps(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """How long was slept, without sleeping."""
        sleeps: list[float] = []
        sleep = gevent.sleep

        def note(seconds: float) -> None:
            sleeps.append(seconds)
            sleep(0)

        monkeypatch.setattr(gevent, 'sleep', note)
        return sleeps

    @pytest.fixture(params=['step', 'read'])
    def delivery(self, request: pytest.FixtureRequest) -> FakeDelivery:
        return FakeDelivery(request.param)

    @pytest.fixture
    def catch_up(self, delivery: Any, sleeps: list[float]) -> Iterator[CatchUp]:
        catch_up = CatchUp()
        catch_up.start(delivery)
        yield catch_up
        catch_up.stop()

    @pytest.fixture
    def settle(self) -> Callable[[], None]:
        def settle() -> None:
            for _ in range(50):
                gevent.idle()

        return settle

    def test_it_works_when_it_is_woken_until_there_is_nothing_left(
        self, catch_up: CatchUp, delivery: FakeDelivery, settle: Callable[[], None]
    ) -> None:
        delivery.left = 10
        settle()
        assert delivery.done == 0
        catch_up.wake(delivery.verb)
        settle()
        assert (delivery.done, delivery.left) == (10, 0)
        delivery.left = 3
        catch_up.wake(delivery.verb)
        settle()
        assert delivery.done == 13

    def test_others_get_a_turn_after_each_step(
        self, catch_up: CatchUp, delivery: FakeDelivery, sleeps: list[float], settle: Callable[[], None]
    ) -> None:
        delivery.left = 5
        catch_up.wake(delivery.verb)
        settle()
        assert len([seconds for seconds in sleeps if seconds < 0.001]) == 5

    def test_it_may_be_woken_before_it_starts(self, delivery: Any, settle: Callable[[], None]) -> None:
        catch_up = CatchUp()
        delivery.left = 2
        catch_up.wake(delivery.verb)
        catch_up.start(delivery)
        settle()
        assert delivery.done == 2
        catch_up.stop()

    def test_a_store_that_is_away_is_asked_again_in_a_second(
        self,
        catch_up: CatchUp,
        delivery: FakeDelivery,
        sleeps: list[float],
        settle: Callable[[], None],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        delivery.left = 2
        delivery.failures = [StoreUnavailable('made up'), StoreUnavailable('made up')]
        catch_up.wake(delivery.verb)
        settle()
        assert delivery.done == 2
        assert [seconds for seconds in sleeps if seconds > 0.001] == [module.RETRY] * 2
        assert {record.getMessage() for record in caplog.records} == {'clients that are behind wait: made up'}

    def test_an_error_of_ours_is_logged_and_the_others_read_on(
        self,
        catch_up: CatchUp,
        delivery: FakeDelivery,
        settle: Callable[[], None],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        delivery.left = 2
        delivery.failures = [RuntimeError('made up')]
        catch_up.wake(delivery.verb)
        settle()
        assert delivery.done == 2
        (record,) = caplog.records
        assert (record.levelno, record.exc_info is not None) == (logging.ERROR, True)

    def test_after_its_end_nothing_is_done(
        self, delivery: Any, sleeps: list[float], settle: Callable[[], None]
    ) -> None:
        catch_up = CatchUp()
        catch_up.start(delivery)
        settle()
        catch_up.stop()
        delivery.left = 1
        catch_up.wake(delivery.verb)
        settle()
        assert delivery.done == 0


def test_a_turn_is_enough_for_what_came_by_the_network() -> None:
    """Given somebody who waits for a socket, and a loop that keeps the hub busy but gives turns."""
    near, far = gevent.socket.socketpair()
    got: list[bytes] = []
    reader = gevent.spawn(lambda: got.append(near.recv(1)))
    gevent.idle()  # until it waits
    far.send(b'x')
    for _ in range(3):
        give_turn()
    assert got == [b'x']
    reader.join()
    near.close()
    far.close()
