"""The WebSocket transport on real sockets: its one outbox, its watchers, its ends, and that nothing of it is left."""

import gc
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import gevent
import pytest
from gevent import monkey

from reminder.websocket import outbox as module
from reminder.websocket.encoded import Encoded
from reminder.websocket.frames import close_frame, frame
from reminder.websocket.outbox import Outbox
from reminder.websocket.transport import WebSocket
from tests import wire

MAX = 65_536
BIG = b'x' * 50_000
RawSocket = monkey.get_original('socket', 'socket')


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.packets: list[str] = []
        self.told: list[str] = []
        self.times_stuck = 0
        self.on_packet: Callable[[str], None] = lambda packet: None

    def received(self, packet: str) -> None:
        self.packets.append(packet)
        self.on_packet(packet)

    def stuck(self) -> None:
        self.times_stuck += 1

    def drained(self) -> None:
        self.told.append('drained')

    def lost(self) -> None:
        self.told.append('lost')


class Link:
    """A transport and, at the other end of a TCP connection, a client's socket."""

    def __init__(self, small: bool = False) -> None:
        with socket.create_server(('127.0.0.1', 0)) as listener:
            self.client = socket.socket()
            if small:  # so that little is on its way: both buffers take their smallest sizes
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            self.client.connect(listener.getsockname())
            accepted, _ = listener.accept()
        self.client.settimeout(5)
        self.raw = RawSocket(fileno=accepted.detach())
        self.raw.setblocking(False)
        self.owner = Owner()
        self.transport = WebSocket(self.raw, MAX, self.owner)

    def start(self, buffered: bytes = b'') -> 'Link':
        self.transport.start(buffered, b'')
        return self

    def send(self, first: int, payload: bytes = b'') -> None:
        self.client.sendall(wire.frame(first, payload))

    def read(self, length: int) -> bytes:
        data = b''
        while len(data) < length and (piece := self.client.recv(min(65_536, length - len(data)))):
            data += piece
        return data

    def read_to_the_end(self) -> bytes:
        data = b''
        while piece := self.client.recv(65_536):
            data += piece
        return data

    def reset(self) -> None:
        """Ends the connection without a word: a TCP RST."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.client.close()

    def close(self) -> None:
        self.transport.abort()
        self.client.close()


@pytest.fixture(autouse=True)
def _short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'LINGER', 0.05)


@pytest.fixture
def link() -> Iterator[Link]:
    link = Link().start()
    yield link
    link.close()


@pytest.fixture
def narrow() -> Iterator[Link]:
    """A link whose buffers hold a few KiB: what is written waits in the transport."""
    link = Link(small=True).start()
    yield link
    link.close()


def wait_for(condition: Callable[[], Any], within: float = 5) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, 'it did not come to it'
        gevent.sleep(0.002)


class TestWriting:
    @pytest.fixture
    def sent(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many bytes each system call was to send."""
        sent: list[int] = []
        send = Outbox._try_send

        def noted(outbox: Outbox, data: bytes | memoryview) -> int:
            sent.append(len(data))
            return send(outbox, data)

        monkeypatch.setattr(Outbox, '_try_send', noted)
        return sent

    def test_reminders_for_an_idle_client_are_sent_at_once(self, link: Link, sent: list[int]) -> None:
        link.transport.write_chunk(Encoded([b'2']))
        assert sent == [3]
        assert link.transport.idle
        assert link.read(3) == frame(b'2')

    def test_a_chunk_is_its_packets_frames(self, link: Link) -> None:
        link.transport.write_chunk(Encoded([b'42["a"]', b'42["b"]']))
        assert link.read(18) == frame(b'42["a"]') + frame(b'42["b"]')

    def test_all_sent_at_once_means_that_nobody_is_told_of_a_drain(self, link: Link) -> None:
        link.transport.write(b'2')
        link.send(wire.FIN | wire.TEXT, b'3')
        wait_for(lambda: link.owner.packets)
        assert link.owner.told == []

    def test_what_is_written_in_one_turn_of_the_hub_goes_out_in_one_piece(self, link: Link, sent: list[int]) -> None:
        for number in range(50):
            link.transport.write(b'%d' % number)
        assert link.transport.idle  # reminders need not wait for it
        assert sent == []
        expected = b''.join(frame(b'%d' % number) for number in range(50))
        assert link.read(len(expected)) == expected
        link.transport.write(b'later')
        assert link.read(7) == frame(b'later')
        assert sent == [len(expected), 7]

    def test_reminders_take_what_was_written_before_with_them(self, link: Link, sent: list[int]) -> None:
        link.transport.write(b'one')
        link.transport.write(b'two')
        link.transport.write_chunk(Encoded([b'reminder']))
        link.transport.write(b'three')
        expected = frame(b'one') + frame(b'two') + frame(b'reminder')
        assert sent == [len(expected)]
        assert link.read(len(expected) + 7) == expected + frame(b'three')

    def test_what_is_large_is_written_at_once(self, link: Link, sent: list[int]) -> None:
        link.transport.write(b'small')
        link.transport.write(BIG)
        assert sent == [7 + len(frame(BIG))]

    def test_a_close_takes_with_it_what_was_written_before(self, link: Link, sent: list[int]) -> None:
        link.transport.write(b'last words')
        link.transport.close()
        assert sent == [12 + 4]
        assert link.read_to_the_end() == frame(b'last words') + close_frame(1000)

    def test_an_abort_does_not(self, link: Link, sent: list[int]) -> None:
        link.transport.write(b'last words')
        link.transport.abort()
        gevent.sleep(0.01)
        assert (sent, link.owner.told) == ([], [])

    def test_a_client_that_takes_nothing_is_told_of(self, narrow: Link) -> None:
        while narrow.transport.idle:
            narrow.transport.write(b'x' * 1_000)
            gevent.sleep(0)
        for _ in range(3):
            narrow.transport.write(b'y')
        assert narrow.owner.times_stuck == 1

    def test_what_a_client_does_not_take_waits_and_is_counted(self, narrow: Link) -> None:
        narrow.transport.write(BIG)
        assert not narrow.transport.idle
        waiting = narrow.transport.waiting
        assert 0 < waiting <= len(frame(BIG))
        narrow.transport.write(b'2')
        assert narrow.transport.waiting == waiting + len(frame(b'2'))

    def test_order_is_kept_whatever_waits(self, narrow: Link) -> None:
        expected = b''
        for number in range(300):
            packet = b'%d:' % number + b'x' * (number * 97 % 5_000)
            if number % 3:
                narrow.transport.write(packet)
                expected += frame(packet)
            else:
                narrow.transport.write_chunk(Encoded([packet, b'end']))
                expected += frame(packet) + frame(b'end')
        assert narrow.transport.waiting > 400_000
        assert narrow.read(len(expected)) == expected
        assert (narrow.transport.idle, narrow.transport.waiting) == (True, 0)

    def test_a_drain_is_told_once_when_all_was_taken(self, narrow: Link) -> None:
        for _ in range(5):
            narrow.transport.write(BIG)
        assert narrow.owner.told == []
        narrow.read(len(frame(BIG)))
        gevent.sleep(0.01)
        assert narrow.owner.told == []
        narrow.read(4 * len(frame(BIG)))
        wait_for(lambda: narrow.owner.told)
        gevent.sleep(0.01)
        assert narrow.owner.told == ['drained']

    def test_after_a_drain_it_is_as_at_the_beginning(self, narrow: Link) -> None:
        for _ in range(3):
            narrow.transport.write(BIG)
            assert narrow.read(len(frame(BIG))) == frame(BIG)
            wait_for(lambda: narrow.transport.idle)
            narrow.transport.write(b'2')
            assert narrow.transport.idle
            assert narrow.read(3) == frame(b'2')
        assert narrow.owner.told == ['drained'] * 3

    def test_what_is_written_when_told_of_a_drain_comes_next(self, narrow: Link) -> None:
        narrow.owner.drained = lambda: narrow.transport.write(b'next')  # type: ignore[method-assign]
        narrow.transport.write(BIG)
        assert narrow.read(len(frame(BIG)) + 6) == frame(BIG) + frame(b'next')

    def test_it_knows_how_many_bytes_were_taken(self, narrow: Link) -> None:
        for _ in range(3):
            narrow.transport.write(BIG)
        waiting = 0
        while waiting != narrow.transport.waiting:  # TCP tries for a while what the other side may take
            waiting = narrow.transport.waiting
            gevent.sleep(0.25)
        begin = narrow.transport.taken()
        narrow.send(wire.FIN | wire.TEXT, b'3')
        wait_for(lambda: narrow.owner.packets)
        assert narrow.transport.taken() == begin
        narrow.read(len(frame(BIG)))
        wait_for(lambda: narrow.transport.taken() > begin)


class TestReading:
    def test_what_the_http_layer_had_read_already_comes_first(self) -> None:
        data = wire.frame(wire.FIN | wire.TEXT, b'first')
        link = Link()
        link.client.sendall(data[7:] + wire.frame(wire.FIN | wire.TEXT, b'second'))
        link.start(data[:7])
        wait_for(lambda: len(link.owner.packets) == 2)
        assert link.owner.packets == ['first', 'second']
        link.close()

    def test_a_ping_is_answered_with_its_payload(self, link: Link) -> None:
        link.send(wire.FIN | wire.PING, b'are you there?')
        assert link.read(16) == frame(b'are you there?', wire.PONG)
        assert link.owner.packets == []

    def test_a_pong_is_not_answered(self, link: Link) -> None:
        link.send(wire.FIN | wire.PONG, b'I am')
        link.send(wire.FIN | wire.PING)
        assert link.read(2) == frame(b'', wire.PONG)

    def test_pings_of_a_client_that_reads_nothing_do_not_pile_up(self, narrow: Link) -> None:
        """RFC 6455 section 5.5.3: a pong for the latest ping will do."""
        narrow.transport.write(BIG)
        before = narrow.transport.waiting
        for _ in range(100):
            narrow.client.sendall(wire.frame(wire.FIN | wire.PING, b'x' * 125) * 200)
            gevent.sleep(0)
        gevent.sleep(0.05)
        assert narrow.transport.waiting - before < 1_000

    def test_a_pause_leaves_bytes_with_the_client_until_it_is_over(self, link: Link) -> None:
        link.send(wire.FIN | wire.TEXT, b'before')
        wait_for(lambda: link.owner.packets)
        link.transport.pause(True)
        link.transport.pause(True)
        link.send(wire.FIN | wire.TEXT, b'meanwhile')
        gevent.sleep(0.02)
        assert link.owner.packets == ['before']
        link.transport.write(b'2')  # one can write meanwhile
        assert link.read(3) == frame(b'2')
        link.transport.pause(False)
        link.transport.pause(False)
        wait_for(lambda: len(link.owner.packets) == 2)
        assert link.owner.packets == ['before', 'meanwhile']

    def test_a_pause_makes_a_client_that_sends_wait(self, narrow: Link) -> None:
        narrow.transport.pause(True)
        narrow.client.setblocking(False)
        with pytest.raises(BlockingIOError):
            for _ in range(1000):
                narrow.client.send(BIG)

    def test_a_packet_may_end_it_while_more_is_in_the_same_piece(self, link: Link) -> None:
        link.owner.on_packet = lambda packet: link.transport.close(1008)
        link.client.sendall(wire.frame(wire.FIN | wire.TEXT, b'a') + wire.frame(wire.FIN | wire.TEXT, b'b'))
        assert link.read_to_the_end() == close_frame(1008)
        assert (link.owner.packets, link.owner.told) == (['a'], [])

    def test_messages_before_one_that_is_malformed_are_received(self, link: Link) -> None:
        link.client.sendall(wire.frame(wire.FIN | wire.TEXT, b'a') + wire.frame(wire.FIN | wire.TEXT, b'\xff'))
        assert link.read_to_the_end() == close_frame(1007)
        assert (link.owner.packets, link.owner.told) == (['a'], ['lost'])


def open_descriptors() -> Counter[str]:
    """What is open, by the names of sockets and files: what the tests before have left may close meanwhile."""
    found: Counter[str] = Counter()
    for name in os.listdir('/proc/self/fd'):  # noqa: PTH208
        with suppress(OSError):  # the listing's own
            found[os.readlink(f'/proc/self/fd/{name}')] += 1  # noqa: PTH115
    return found


class TestEnds:
    def test_a_close_comes_behind_all_that_waits_and_what_follows_it_is_not_sent(
        self, narrow: Link, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, 'LINGER', 3)
        narrow.transport.write(BIG)
        narrow.transport.close(1001)
        narrow.transport.write(b'too late')
        narrow.transport.close(1000)
        assert narrow.read_to_the_end() == frame(BIG) + close_frame(1001)
        assert narrow.owner.told == []
        assert not narrow.transport.idle

    def test_a_closed_one_reads_and_says_nothing_more(self, link: Link) -> None:
        link.transport.close()
        link.send(wire.FIN | wire.TEXT, b'3')
        link.send(wire.FIN | wire.CLOSE, b'\x03\xe8')
        link.client.sendall(b'\xff' * 100)
        assert link.read_to_the_end() == close_frame(1000)
        assert (link.owner.packets, link.owner.told) == ([], [])

    def test_a_paused_one_can_be_closed(self, link: Link) -> None:
        link.transport.pause(True)
        link.transport.close()
        link.send(wire.FIN | wire.CLOSE, b'\x03\xe8')
        assert link.read_to_the_end() == close_frame(1000)
        link.client.close()
        wait_for(lambda: link.raw.fileno() == -1, within=module.LINGER)

    def test_the_clients_end_ends_it_before_the_linger(self, link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, 'LINGER', 3)
        link.transport.close()
        link.read_to_the_end()
        link.client.close()
        wait_for(lambda: link.raw.fileno() == -1, within=1)

    def test_a_client_that_does_not_end_its_side_is_not_waited_for_longer(self, link: Link) -> None:
        link.transport.close()
        wait_for(lambda: link.raw.fileno() == -1, within=1)

    def test_a_client_that_reads_nothing_is_not_waited_for_longer(self, narrow: Link) -> None:
        narrow.transport.write(BIG)
        narrow.transport.close()
        wait_for(lambda: narrow.raw.fileno() == -1, within=1)

    def test_the_clients_close_is_answered_and_told(self, link: Link) -> None:
        link.send(wire.FIN | wire.CLOSE, b'\x03\xe8bye')
        assert link.read_to_the_end() == close_frame(1000)
        assert link.owner.told == ['lost']

    @pytest.mark.parametrize('how', ['close', 'reset'])
    def test_a_client_that_is_gone_is_told(self, link: Link, how: str) -> None:
        getattr(link.client if how == 'close' else link, how)()
        wait_for(lambda: link.owner.told)
        assert link.owner.told == ['lost']
        assert link.raw.fileno() == -1

    def test_writing_to_a_client_that_is_gone_tells_once_and_raises_nothing(self, link: Link) -> None:
        link.transport.pause(True)
        link.reset()
        for _ in range(3):
            link.transport.write(b'2')
            gevent.sleep(0)
        assert link.owner.told == ['lost']
        assert link.transport.waiting == 0

    def test_closing_one_whose_client_is_gone_tells_nobody(self, link: Link) -> None:
        link.transport.pause(True)
        link.reset()
        link.transport.close()
        assert link.raw.fileno() == -1
        assert link.owner.told == []

    def test_a_client_that_goes_while_bytes_wait_is_told_once(self, narrow: Link) -> None:
        narrow.transport.pause(True)
        narrow.transport.write(BIG)
        narrow.reset()
        wait_for(lambda: narrow.owner.told)
        assert narrow.owner.told == ['lost']
        assert (narrow.transport.waiting, narrow.raw.fileno()) == (0, -1)

    def test_one_that_is_lost_before_it_starts_stays_quiet(self) -> None:
        """A client may go between its handshake and the server's first packet."""
        link = Link()
        link.reset()
        link.transport.write(b'0{}')
        gevent.sleep(0)
        assert link.owner.told == ['lost']
        link.start()
        link.transport.pause(True)
        link.transport.pause(False)
        link.transport.close()
        link.transport.abort()
        assert link.owner.told == ['lost']

    def test_an_abort_ends_it_at_once(self, narrow: Link) -> None:
        narrow.transport.write(BIG)
        narrow.transport.abort()
        narrow.transport.abort()
        narrow.transport.write(b'2')
        narrow.transport.pause(False)
        assert narrow.raw.fileno() == -1
        assert narrow.owner.told == []


def ways_to_end() -> dict[str, Callable[[Link], None]]:
    def client_close_frame(link: Link) -> None:
        link.send(wire.FIN | wire.CLOSE, b'\x03\xe8')
        link.read_to_the_end()
        link.client.close()

    def server_close(link: Link) -> None:
        link.transport.close(1001)
        link.read_to_the_end()
        link.client.close()

    def server_close_unread(link: Link) -> None:
        link.transport.write(BIG)
        link.transport.close(1001)

    def malformed(link: Link) -> None:
        link.client.sendall(b'\xff\xff')
        link.read_to_the_end()

    def gone_with_bytes_waiting(link: Link) -> None:
        link.transport.write(BIG)
        link.reset()

    def paused(link: Link) -> None:
        link.transport.pause(True)
        link.reset()
        link.transport.write(b'2')

    return {
        'the client says CLOSE': client_close_frame,
        'the client is gone': lambda link: link.client.close(),
        'the client resets': Link.reset,
        'the client resets with bytes waiting': gone_with_bytes_waiting,
        'the client resets while it is not read': paused,
        'the server closes': server_close,
        'the server closes with bytes waiting': server_close_unread,
        'the server aborts': lambda link: link.transport.abort(),
        'the client breaks the protocol': malformed,
    }


def objects() -> list[object]:
    """All transports and links that are there."""
    gc.collect()
    return [thing for thing in gc.get_objects() if isinstance(thing, WebSocket | Link)]


def are_closed(links: list[Link]) -> bool:
    return all(link.raw.fileno() == -1 for link in links)


def test_nothing_is_left_of_500_connections_however_they_end() -> None:
    gevent.sleep(module.LINGER + 0.05)  # what the tests before have left
    before = objects()  # held, so that no other takes their ids
    descriptors = open_descriptors()
    for way, end in ways_to_end().items():
        links = [Link(small=True).start() for _ in range(56)]
        for link in links:
            link.transport.write(b'2')
            end(link)
        wait_for(partial(are_closed, links))
        for link in links:
            link.client.close()
        assert open_descriptors() - descriptors == Counter(), way
    gevent.sleep(module.LINGER + 0.05)
    del link, links, end
    known = set(map(id, before))
    assert [thing for thing in objects() if id(thing) not in known] == []
