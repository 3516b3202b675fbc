"""The Engine.IO server in this process, with messages that the test handles: flow control, ends, upgrades, refusals."""

import json
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Generic, TypeVar

import gevent
import pytest
import requests
import websocket
from gevent.event import Event

from reminder.websocket import handshake, outbox, upgrade
from reminder.websocket.encoded import Encoded
from reminder.websocket.inbox import MAX_INBOX, MAX_INBOX_SIZE, WINDOW
from reminder.websocket.outbox import MAX_OUTBOX
from reminder.websocket.payloads import MAX_MESSAGE, MAX_POST
from reminder.websocket.session import Session
from tests import wire
from tests.engine import INTERVAL, TIMEOUT, Host, hosts, wait_for
from tests.wire import Polling, WebSocket, engine_url

Answer = TypeVar('Answer')

PIECE = b'x' * 60_000
FLOOD = 4_000_000
"""Bytes that no socket's buffers hold."""


@pytest.fixture
def start() -> Iterator[Callable[..., Host]]:
    with hosts() as start:
        yield start


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    return start()


class Gate:
    """A handler that notes messages and keeps them until it is opened; then each is answered with itself."""

    def __init__(self, host: Host) -> None:
        self.started: list[str] = []
        self.running = self.most = 0
        self._open = Event()
        host.handle = self

    def __call__(self, session: Session, message: str) -> None:
        self.started.append(message)
        self.running += 1
        self.most = max(self.most, self.running)
        self._open.wait()
        self.running -= 1
        session.write(b'4' + message.encode())

    def open(self) -> None:
        self._open.set()


def message(text: str) -> bytes:
    return wire.frame(wire.FIN | wire.TEXT, text.encode())


def seconds(function: Callable[[], Any]) -> float:
    begin = time.monotonic()
    function()
    return time.monotonic() - begin


class TestClientThatDoesNotRead:
    def fill(self, host: Host) -> None:
        host.session.write_chunk(Encoded([PIECE] * (FLOOD // len(PIECE))))
        assert not host.session.idle

    def test_one_that_takes_no_byte_for_the_ping_timeout_is_closed_before_its_next_ping(self, host: Host) -> None:
        with host.websocket():
            self.fill(host)
            assert TIMEOUT * 0.9 < seconds(lambda: wait_for(lambda: host.ended)) < INTERVAL / 2
            assert host.ended == ['stalled']

    def test_that_it_goes_on_sending_does_not_help(self, host: Host) -> None:
        with host.websocket() as client:
            self.fill(host)
            end = time.monotonic() + 4 * TIMEOUT
            while time.monotonic() < end and not host.ended:
                client.send('6')
                client.send_frame(wire.FIN | wire.PONG)
                gevent.sleep(TIMEOUT / 10)
            assert host.ended == ['stalled']

    def test_one_that_takes_them_slowly_is_not(self, host: Host) -> None:
        with host.websocket() as client:
            self.fill(host)
            end = time.monotonic() + 4 * TIMEOUT
            while time.monotonic() < end:
                client.raw.recv(50_000)
                gevent.sleep(TIMEOUT / 6)
            assert host.ended == []
            assert not host.session.idle

    def test_nothing_more_is_read_from_one_whose_answers_wait(self, host: Host) -> None:
        with host.websocket() as client:
            self.fill(host)
            waiting = host.session.transport.waiting
            assert waiting > MAX_OUTBOX
            for _ in range(100):
                client.send('4a')
            gevent.sleep(0.05)
            assert host.session.transport.waiting - waiting < 2_000

    def test_commands_of_one_that_does_not_read_their_answers_wait(self, host: Host) -> None:
        """A piece of 64 KiB holds many small commands, whose answers may be a hundred times their size."""
        with host.websocket() as client:
            host.handle = lambda session, text: session.write(b'4' + text.encode() + b'.' * 10_000)
            client.send_bytes(b''.join(message(f'4{number:03d}') for number in range(1_000)))
            gevent.sleep(0.1)
            assert host.session.transport.waiting < MAX_OUTBOX + WINDOW * 10_100
            for number in range(1_000):
                assert client.read()[1:4] == f'{number:03d}'
            assert host.session.idle

    def test_a_slow_readers_pong_may_be_late(self, start: Callable[..., Host]) -> None:
        """It answers the ping once it has read all that was sent before it."""
        host = start(ping_interval=0.2)
        with host.websocket() as client:
            self.fill(host)
            end = time.monotonic() + 0.2 + 4 * TIMEOUT
            while time.monotonic() < end:
                client.raw.recv(50_000)
                gevent.sleep(TIMEOUT / 6)
            assert host.ended == []
            assert not host.session.idle


class TestWindow:
    def test_commands_start_in_order_and_a_window_of_them_runs_at_once(self, host: Host) -> None:
        with host.websocket() as client:
            gate = Gate(host)
            for number in range(2 * WINDOW):
                client.send(f'4{number}')
            wait_for(lambda: len(gate.started) == WINDOW)
            gevent.sleep(0.02)
            assert gate.started == [str(number) for number in range(WINDOW)]
            gate.open()
            answers = [client.read() for _ in range(2 * WINDOW)]
            assert sorted(answers) == sorted(f'4{number}' for number in range(2 * WINDOW))
            assert gate.started == [str(number) for number in range(2 * WINDOW)]
            assert gate.most == WINDOW

    def test_each_is_answered_when_it_is_done(self, host: Host) -> None:
        release = Event()

        def handle(session: Session, message: str) -> None:
            if message == 'slow':
                release.wait()
            session.write(b'4' + message.encode())

        with host.websocket() as client:
            host.handle = handle
            client.send('4slow')
            client.send('4quick')
            assert client.read() == '4quick'
            release.set()
            assert client.read() == '4slow'

    def test_a_client_that_sends_more_is_not_read_and_gets_all_answers_later(self, host: Host) -> None:
        with host.websocket() as client:
            gate = Gate(host)
            sock = client.raw
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            data = b''.join(message(f'4{number:07d}' + '.' * 1_000) for number in range(FLOOD // 1_000))
            view, sent = memoryview(data), 0
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                while sent < len(data):
                    sent += sock.send(view[sent:])
            assert len(gate.started) == WINDOW
            assert MAX_INBOX_SIZE < host.session._inbox._size <= MAX_INBOX_SIZE + 2 * 65_536
            gate.open()

            def send_the_rest() -> None:
                sock.settimeout(5)
                sock.sendall(view[sent:])

            sender = threading.Thread(target=send_the_rest)
            sender.start()
            for number in range(FLOOD // 1_000):
                assert client.read()[1:8] == f'{number:07d}'
            sender.join()
            assert gate.most == WINDOW

    def test_nothing_overtakes_a_connect_that_came_with_it(self, host: Host) -> None:
        with WebSocket(host.url) as client:
            client.read()
            gate = Gate(host)
            client.send_bytes(b''.join(message(text) for text in ('40', '41', '42')))
            client.send('43')
            wait_for(lambda: gate.started)
            gevent.sleep(0.02)
            assert gate.started == ['0']
            gate.open()
            assert [client.read() for _ in range(4)] == ['40', '41', '42', '43']

    def test_what_came_with_a_connect_has_a_window_too(self, host: Host) -> None:
        with WebSocket(host.url) as client:
            client.read()
            gate = Gate(host)
            original = gate.__call__
            host.handle = lambda session, text: None if text == '0' else original(session, text)
            client.send_bytes(b''.join(message(text) for text in ('40', '41', '42', '43')))
            wait_for(lambda: len(gate.started) == 3, within=1)
            gate.open()

    def test_a_client_that_never_connects_is_ended(self, start: Callable[..., Host]) -> None:
        host = start(ping_interval=0.1, ping_timeout=0.1)
        with WebSocket(host.url) as client:
            client.read()
            begin = time.monotonic()
            while client.read_frame()[0] != wire.CLOSE:
                client.send('3')
            assert 0.15 < time.monotonic() - begin < 5
            assert host.ended == ['transport error']

    def test_a_message_that_cannot_be_handled_ends_its_session_alone(self, host: Host) -> None:
        def handle(session: Session, text: str) -> None:
            if text == 'bad':
                raise RuntimeError('made up')
            session.write(b'4' + text.encode())

        with host.websocket() as client, host.websocket() as other:
            host.handle = handle
            client.send('4bad')
            client.send('4good')
            client.close_code()
            other.send('4good')
            assert other.read() == '4good'
            assert host.ended == ['transport error']

    def test_a_pong_may_wait_behind_commands(self, start: Callable[..., Host]) -> None:
        """A server that is busy with what a client sent has no reason to call the client dead."""
        host = start(ping_interval=0.3, ping_timeout=0.3)
        with host.websocket() as client:
            gate = Gate(host)
            for number in range(WINDOW + MAX_INBOX + 2):
                client.send(f'4{number}')
            assert client.read() == '2'
            client.send('3')
            gevent.sleep(1)
            assert host.ended == []
            gate.open()

    def test_a_pong_of_a_polling_client_may_wait_behind_commands(self, start: Callable[..., Host]) -> None:
        """It has one POST at a time, and that is being held."""
        host = start(ping_interval=0.3, ping_timeout=0.3)
        client = host.polling()
        gate = Gate(host)
        posting = InBackground(lambda: client.post(*(f'4{number}' for number in range(WINDOW + MAX_INBOX + 2))))
        assert client.get().text == '2'
        polling = InBackground(client.get)
        gevent.sleep(1)
        assert host.ended == []
        gate.open()
        assert posting.answer().text == 'ok'
        assert polling.answer().status_code == 200


class InBackground(Generic[Answer]):
    """A request that waits for its answer beside the test."""

    def __init__(self, request: Callable[[], Answer]) -> None:
        self._greenlet = gevent.spawn(request)
        gevent.sleep(0.05)

    @property
    def waits(self) -> bool:
        return not self._greenlet.ready()

    def answer(self) -> Answer:
        answer: Answer = self._greenlet.get(timeout=3)
        return answer


class TestPosts:
    def test_a_client_that_posts_and_never_polls_is_ended(self, start: Callable[..., Host]) -> None:
        host = start(ping_interval=0.2, ping_timeout=0.2)
        client = host.polling()
        host.handle = lambda session, text: session.write(b'4' + text.encode() + b'.' * 10_000)
        posting = InBackground(lambda: client.post(*(f'4{number}' for number in range(1_000))))
        wait_for(lambda: host.ended, within=2)
        assert host.ended == ['ping timeout']
        posting.answer()

    def test_few_that_are_long_are_ahead_of_the_window_too(self, host: Host) -> None:
        client = host.polling()
        gate = Gate(host)
        posting = InBackground(
            lambda: client.post(*(f'4{number}' for number in range(WINDOW)), *['4' + 'x' * 9_000] * 20)
        )
        assert posting.waits
        assert host.session._inbox._size <= MAX_INBOX_SIZE + 9_000
        gate.open()
        assert posting.answer().status_code == 200
        wait_for(lambda: len(gate.started) == WINDOW + 20)
        assert host.session._inbox._size == 0

    def test_one_is_held_while_its_commands_wait_for_the_window(self, host: Host) -> None:
        client = host.polling()
        gate = Gate(host)
        posting = InBackground(lambda: client.post(*(f'4{number}' for number in range(WINDOW + MAX_INBOX + 50))))
        assert posting.waits
        assert len(host.session._inbox) <= MAX_INBOX + 1
        gate.open()
        assert posting.answer().text == 'ok'
        answers: list[str] = []
        while len(answers) < WINDOW + MAX_INBOX + 50:
            answers += client.get().text.split('\x1e')
        assert sorted(answers) == sorted(f'4{number}' for number in range(WINDOW + MAX_INBOX + 50))

    def test_a_second_one_meanwhile_ends_the_session(self, host: Host) -> None:
        client = host.polling()
        Gate(host)
        held = InBackground(lambda: client.post(*(f'4{number}' for number in range(WINDOW + MAX_INBOX + 50))))
        assert held.waits
        assert client.post('4a').status_code == 400
        assert host.ended == ['transport error']
        held.answer()

    def test_one_that_is_held_is_let_go_when_the_session_ends(self, host: Host) -> None:
        client = host.polling()
        Gate(host)
        held = InBackground(lambda: client.post(*(f'4{number}' for number in range(WINDOW + MAX_INBOX + 50))))
        assert held.waits
        host.session.close()
        assert held.answer().text == 'ok'

    def test_large_ones_do_not_wait_for_others_that_come_slowly_or_have_much_to_do(self, host: Host) -> None:
        honest, *clients = [host.polling() for _ in range(17)]
        gate = Gate(host)
        with ExitStack() as stack:
            for client in clients[::2]:
                raw = stack.enter_context(socket.create_connection(host.address))
                raw.sendall(
                    f'POST /socket.io/?EIO=4&transport=polling&sid={client.handshake["sid"]} HTTP/1.1\r\nHost: x\r\n'
                    f'Content-Length: {MAX_POST}\r\n\r\n4'.encode()
                )
            for client in clients[1::2]:
                host.engine.sockets[client.handshake['sid']].established = False  # one message at a time
            many = [*(f'4{number}' for number in range(MAX_INBOX + 50)), *['4' + 'x' * 60_000] * 2]
            held = [InBackground(partial(client.post, *many)) for client in clients[1::2]]
            assert all(one.waits for one in held)
            assert seconds(lambda: honest.post(*['4' + 'x' * 40_000] * 2)) < 1
            gate.open()
            assert [one.answer().text for one in held] == ['ok'] * 8

    def test_the_packets_of_one_are_taken_as_they_come(self, host: Host) -> None:
        sid = host.polling().handshake['sid']
        gate = Gate(host)
        body = b'\x1e'.join([b'4' + PIECE, b'4' + PIECE, b'4third'])
        with socket.create_connection(host.address) as raw:
            raw.settimeout(2)
            raw.sendall(
                f'POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n'
                f'Content-Length: {len(body)}\r\n\r\n'.encode()
            )
            raw.sendall(body[:-1])
            wait_for(lambda: gate.started == [PIECE.decode()])
            raw.sendall(body[-1:])
            wait_for(lambda: gate.started[1:] == [PIECE.decode(), 'third'])
            gate.open()
            assert raw.recv(1000).startswith(b'HTTP/1.1 200 ')

    def test_one_that_announces_too_much_is_refused_before_it_is_read(self, host: Host) -> None:
        sid = host.polling().handshake['sid']
        with socket.create_connection(host.address) as raw:
            raw.settimeout(2)
            raw.sendall(
                f'POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n'
                f'Content-Length: {MAX_POST + 1}\r\n\r\n'.encode()
            )
            assert raw.recv(1000).startswith(b'HTTP/1.1 413 ')

    @pytest.mark.parametrize('length', ['-1', 'x', '1e3', '9' * 5_000, '\u0663'])
    def test_a_length_that_is_none_is_a_bad_request(self, host: Host, length: str) -> None:
        sid = host.polling().handshake['sid']
        with socket.create_connection(host.address) as raw:
            raw.settimeout(2)
            raw.sendall(
                f'POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n'
                f'Content-Length: {length}\r\n\r\n'.encode()
            )
            assert raw.recv(1000).startswith((b'HTTP/1.1 400 ', b'HTTP/1.1 413 '))

    def test_one_of_the_announced_size_is_taken(self, host: Host) -> None:
        client = host.polling()
        host.handle = lambda session, text: None
        packet = '4' + 'x' * (MAX_MESSAGE - 1)
        packets = [packet] * (MAX_POST // (MAX_MESSAGE + 1))
        assert client.post(*packets).text == 'ok'

    def test_one_packet_that_is_too_long_ends_the_session(self, host: Host) -> None:
        client = host.polling()
        assert client.post('4' + 'x' * MAX_MESSAGE).status_code == 400
        assert host.ended == ['transport error']

    def test_one_that_is_cut_short_harms_nobody(self, host: Host) -> None:
        sid = host.polling().handshake['sid']
        with socket.create_connection(host.address) as raw:
            raw.sendall(
                f'POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n'
                f'Content-Length: 1000\r\n\r\n40'.encode()
            )
        gevent.sleep(0.05)
        with host.websocket() as other:
            other.send('4a')
            assert other.read() == '4a'


class TestOrder:
    def test_answers_and_batches_never_get_into_one_another(self, host: Host) -> None:
        """All bytes of a connection go through one outbox, whoever writes."""
        with host.websocket() as client:
            host.handle = lambda session, text: session.write(b'4' + text.encode() + b'.' * 3_000)
            session = host.session
            batch = Encoded([b'42["a",%d]' % number + b'.' * 3_000 for number in range(20)])

            def broadcast() -> None:
                for _ in range(20):
                    session.write_chunk(batch)
                    gevent.sleep(0.001)

            broadcasting = gevent.spawn(broadcast)
            for number in range(200):
                client.send(f'4{number}')
            packets = [client.read() for _ in range(200 + 20 * 20)]
            broadcasting.join()
            heads = [packet.partition('.')[0] for packet in packets]
            assert all(packet.endswith('.' * 3_000) for packet in packets)
            assert [head for head in heads if head[1:].isdigit()] == [f'4{number}' for number in range(200)]
            assert [head for head in heads if not head[1:].isdigit()] == [
                f'42["a",{number}]' for number in range(20)
            ] * 20


def answered_probe(client: Polling) -> WebSocket:
    """A WebSocket to which the client may move."""
    probe = client.probe()
    probe.send('2probe')
    assert probe.read() == '3probe'
    return probe


class TestUpgrade:
    def test_packets_that_wait_move_along_in_order(self, host: Host) -> None:
        client = host.polling()
        session = host.session
        session.write(b'4a')
        session.write_chunk(Encoded([b'4b', b'4c']))
        with answered_probe(client) as moved:
            session.write(b'4d')
            moved.send('5')
            wait_for(lambda: session.upgraded)
            session.write(b'4e')
            assert [moved.read() for _ in range(5)] == ['4a', '4b', '4c', '4d', '4e']
            assert session.idle

    def test_more_than_a_socket_takes_moves_along(self, host: Host) -> None:
        client = host.polling()
        for number in range(300):
            host.session.write(b'4%d' % number + PIECE)
        with answered_probe(client) as moved:
            moved.send('5')
            for number in range(300):
                assert moved.read() == f'4{number}' + PIECE.decode()

    def test_nobody_is_read_meanwhile_and_told_so_after(self, host: Host) -> None:
        client = host.polling()
        session = host.session
        idle: list[bool] = []
        session.on_idle = lambda: idle.append(session.idle)
        with answered_probe(client) as moved:
            assert not session.idle
            moved.send('5')
            wait_for(lambda: idle)
            assert idle == [True]

    def test_a_client_that_is_ahead_of_its_commands_does_not_escape_the_window_by_it(self, host: Host) -> None:
        client = host.polling()
        gate = Gate(host)
        client.post(*(f'4{number}' for number in range(WINDOW)))
        wait_for(lambda: gate.running == WINDOW)
        posting = InBackground(lambda: client.post(*(f'4{number}' for number in range(MAX_INBOX + 50))))
        assert posting.waits
        with answered_probe(client) as moved:
            moved.send('5')
            wait_for(lambda: host.session.upgraded)
            for _ in range(100):
                moved.send_bytes(message('4more') * 100)
            gevent.sleep(0.05)
            assert len(host.session._inbox) <= MAX_INBOX + 1
            gate.open()
            assert posting.answer().status_code == 200

    def test_a_second_probe_cannot_take_over_a_session_that_has_moved(self, host: Host) -> None:
        client = host.polling()
        with client.probe() as late, answered_probe(client) as moved:
            moved.send('5')
            wait_for(lambda: host.session.upgraded)
            late.send('2probe')
            assert late.close_code() == 1008
            moved.send('4a')
            assert moved.read() == '4a'
            assert host.session.idle

    def test_a_probe_is_given_up_after_a_while(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(upgrade, 'UPGRADE_TIMEOUT', 0.1)
        client = host.polling()
        with answered_probe(client) as moved:
            assert not host.session.idle
            assert moved.close_code() == 1008
        host.session.write(b'4a')
        assert client.get().text == '4a'

    def test_a_get_that_waits_is_let_go_without_losing_what_comes_with_it(self, host: Host) -> None:
        client = host.polling()
        waiting = InBackground(client.get)
        assert waiting.waits
        with answered_probe(client) as moved:
            got = waiting.answer().text.split('\x1e')
            host.session.write(b'4a')
            moved.send('5')
            while (packet := moved.read()) == '6':
                continue
            assert (got, packet) == (['6'], '4a')


class TestEnds:
    @pytest.mark.parametrize(
        ('end', 'reason'),
        [
            (lambda client, host: client.send('1'), 'client disconnect'),
            (lambda client, host: client.close(), 'transport close'),
            (lambda client, host: client.send_frame(wire.FIN | wire.CLOSE), 'transport close'),
            (lambda client, host: client.send('9'), 'transport error'),
            (lambda client, host: client.send_frame(wire.FIN | 0x3), 'transport close'),
            (lambda client, host: host.session.close(), 'server disconnect'),
        ],
    )
    def test_it_is_told_once_and_why(self, host: Host, end: Callable[[WebSocket, Host], None], reason: str) -> None:
        with host.websocket() as client:
            end(client, host)
            wait_for(lambda: host.ended)
            gevent.sleep(0.02)
            assert host.ended == [reason]
            assert host.engine.sockets == {}

    @pytest.mark.parametrize(
        ('end', 'reason'),
        [
            (wire.frame(wire.FIN | wire.CLOSE), 'transport close'),
            (message('1'), 'client disconnect'),
            (message('1') + message('4too late') + wire.frame(wire.FIN | wire.CLOSE), 'client disconnect'),
            (None, 'transport close'),
        ],
        ids=['closes', 'says so', 'says so and goes on', 'is gone'],
    )
    def test_what_a_client_sent_before_it_left_is_handled(self, host: Host, end: bytes | None, reason: str) -> None:
        """Whoever does not care for answers sends commands and leaves, all in one piece."""
        with host.websocket() as client:
            gate = Gate(host)
            numbers = [str(number) for number in range(WINDOW + 50)]
            client.send_bytes(b''.join(message(f'4{number}') for number in numbers) + (end or b''))
            if end is None:
                client.close()
            wait_for(lambda: gate.running == WINDOW)
            gevent.sleep(0.02)
            assert host.ended == []
            gate.open()
            wait_for(lambda: host.ended)
            assert (gate.started, host.ended) == (numbers, [reason])

    def test_what_a_polling_client_sent_before_it_left_is_handled(self, host: Host) -> None:
        client = host.polling()
        gate = Gate(host)
        waiting = InBackground(client.get)
        client.post('4a', '4b', '1')
        wait_for(lambda: gate.started)
        gate.open()
        wait_for(lambda: host.ended)
        assert (gate.started, host.ended) == (['a', 'b'], ['client disconnect'])
        assert waiting.answer().status_code == 200

    def test_a_client_that_took_no_answers_and_left_is_gone(self, host: Host) -> None:
        with host.websocket() as client:
            host.handle = lambda session, text: session.write(b'4' + PIECE)
            client.send_bytes(message('4a') * MAX_INBOX)
            wait_for(lambda: host.session._full)
            gevent.sleep(0.05)
            assert host.session._inbox
            client.close()
            wait_for(lambda: host.ended)
            assert host.ended == ['transport close']

    def test_a_client_that_left_is_not_handled_for_ever(self, start: Callable[..., Host]) -> None:
        host = start(ping_interval=0.1, ping_timeout=0.2)
        with host.websocket() as client:
            gate = Gate(host)
            client.send_bytes(message('4a') + message('4b') + wire.frame(wire.FIN | wire.CLOSE))
            wait_for(lambda: host.ended, within=2)
            assert host.ended == ['ping timeout']
            gate.open()

    def test_few_that_do_not_go_are_waited_for(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outbox, 'MAX_LINGERING', 1)
        with host.websocket() as first, host.websocket() as second:
            for client in (first, second):
                client.send('9')
                assert client.read_frame()[0] == wire.CLOSE
            wait_for(lambda: len(host.ended) == 2)
            assert outbox.Outbox.lingering == 1
            with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
                second.read_frame()
            first.close()
            wait_for(lambda: outbox.Outbox.lingering == 0)

    def test_a_get_that_waits_is_answered(self, host: Host) -> None:
        client = host.polling()
        waiting = InBackground(client.get)
        host.session.close()
        assert waiting.answer().text == '1'

    def test_a_client_in_the_midst_of_an_upgrade_is_told_when_it_has_moved(self, host: Host) -> None:
        """It has stopped polling, so that it would hear of nothing if the WebSocket closed before."""
        client = host.polling()
        waiting = InBackground(client.get)
        assert waiting.waits
        with answered_probe(client) as probe:
            assert waiting.answer().text == '6'
            host.session.close()
            assert host.engine.sockets == {}
            ending = InBackground(probe.close_code)
            assert ending.waits
            assert host.engine.shares.taken == 1
            probe.send('5')
            assert ending.answer() == 1008
            assert host.engine.moving == set() and host.engine.shares.taken == 0

    def test_a_client_in_the_midst_of_an_upgrade_is_not_waited_for_for_ever(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upgrade, 'UPGRADE_TIMEOUT', 0.3)
        with answered_probe(host.polling()) as probe:
            host.session.close()
            ending = InBackground(probe.close_code)
            assert ending.waits
            assert ending.answer() == 1008
            assert host.engine.moving == set() and host.engine.shares.taken == 0

    def test_a_stopping_server_lets_clients_move_first_and_begins_no_new_moves(self, host: Host) -> None:
        client, late = host.polling(), host.polling()
        with answered_probe(client) as probe, late.probe() as refused:
            draining = gevent.spawn(host.engine.drain, 5)
            gevent.sleep(0.05)
            refused.send('2probe')
            assert refused.close_code() == 1008
            assert not draining.ready()
            probe.send('5')
            draining.join(1)
            assert draining.ready()
            host.engine.stop()
            assert probe.close_code() == 1001

    def test_what_was_written_before_it_is_still_sent(self, host: Host) -> None:
        with host.websocket() as client:
            host.session.write_chunk(Encoded([PIECE] * 100))
            host.session.close()
            for _ in range(100):
                assert client.read_frame() == (wire.TEXT, PIECE)
            assert client.close_code() == 1000

    def test_a_stopping_server_lets_commands_finish_and_takes_no_new_ones(self, host: Host) -> None:
        with host.websocket() as client:
            gate = Gate(host)
            client.send('4a')
            wait_for(lambda: gate.started)
            draining = gevent.spawn(host.engine.drain, 2)
            gevent.sleep(0.02)
            client.send('4b')
            for url in (engine_url(host.url, EIO='4', transport='polling'),):
                assert requests.get(url, timeout=2).status_code == 503
            with pytest.raises(websocket.WebSocketBadStatusException):
                WebSocket(host.url)
            gate.open()
            draining.join(1)
            assert draining.ready()
            host.engine.stop()
            assert client.read() == '4a'
            assert client.close_code() == 1001
            assert gate.started == ['a']

    def test_a_stopping_server_does_not_wait_for_ever(self, host: Host) -> None:
        with host.websocket() as client:
            gate = Gate(host)
            client.send('4a')
            wait_for(lambda: gate.started)
            assert 0.1 <= seconds(lambda: host.engine.drain(0.1)) < 3
            gate.open()

    def test_a_stopped_server_closes_probes_too(self, host: Host) -> None:
        with answered_probe(host.polling()) as probe:
            host.engine.stop()
            probe.close_code()


class TestRefusals:
    def test_more_connections_than_allowed(self, start: Callable[..., Host]) -> None:
        host = start(max_connections=2)
        url = engine_url(host.url, EIO='4', transport='polling')
        with host.websocket() as first, host.websocket():
            answer = requests.get(url, timeout=2)
            assert (answer.status_code, answer.headers['Content-Type']) == (503, 'application/json')
            with pytest.raises(websocket.WebSocketBadStatusException) as refused:
                WebSocket(host.url)
            assert refused.value.status_code == 503
            first.close()
            wait_for(lambda: host.ended)
            assert requests.get(url, timeout=2).status_code == 200

    def test_an_error_says_what_it_is_in_json(self, host: Host) -> None:
        answer = requests.get(engine_url(host.url, EIO='3', transport='polling'), timeout=2)
        assert answer.status_code == 400
        assert answer.json() == {'code': 5, 'message': 'Unsupported protocol version'}


GOOD_KEY = 'dGhlIHNhbXBsZSBub25jZQ=='


class TestHandshake:
    """RFC 6455 section 4.2."""

    def request(self, version: str = 'HTTP/1.1', **headers: str | None) -> bytes:
        fields = {
            'Host': 'x',
            'Upgrade': 'websocket',
            'Connection': 'Upgrade',
            'Sec-WebSocket-Version': '13',
            'Sec-WebSocket-Key': GOOD_KEY,
        } | {name.replace('_', '-'): value for name, value in headers.items()}
        lines = ''.join(f'{name}: {value}\r\n' for name, value in fields.items() if value is not None)
        return f'GET /socket.io/?EIO=4&transport=websocket {version}\r\n{lines}\r\n'.encode('latin-1')

    def ask(self, host: Host, *, extra: bytes = b'', **headers: Any) -> bytes:
        with socket.create_connection(host.address) as raw:
            raw.settimeout(2)
            raw.sendall(self.request(**headers) + extra)
            answer = b''
            try:
                while b'\r\n\r\n' not in answer or (extra and b'4early' not in answer):
                    piece = raw.recv(1000)
                    if not piece:
                        break
                    answer += piece
            except TimeoutError:
                pass
            return answer

    def test_the_example_of_the_rfc(self, host: Host) -> None:
        answer = self.ask(host).partition(b'\r\n\r\n')[0].split(b'\r\n')
        assert answer[0] == b'HTTP/1.1 101 Switching Protocols'
        assert b'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=' in answer
        assert not any(line.lower().startswith((b'content-length', b'transfer-encoding')) for line in answer)

    @pytest.mark.parametrize(
        'headers',
        [
            {'Upgrade': 'WebSocket'},
            {'Upgrade': 'WEBSOCKET'},
            {'Connection': 'keep-alive, Upgrade'},
            {'Connection': 'upgrade'},
            {'Sec_WebSocket_Extensions': 'permessage-deflate'},
            {'Sec_WebSocket_Protocol': 'chat'},
        ],
    )
    def test_other_forms_of_the_same_are_taken(self, host: Host, headers: dict[str, Any]) -> None:
        answer = self.ask(host, **headers)
        assert answer.startswith(b'HTTP/1.1 101 ')
        assert b'Sec-WebSocket-Extensions' not in answer
        assert b'Sec-WebSocket-Protocol' not in answer

    @pytest.mark.parametrize(
        'headers',
        [
            {'Upgrade': None},
            {'Upgrade': 'h2c'},
            {'Connection': None},
            {'Connection': 'keep-alive'},
            {'Connection': 'keep-alive, notupgrade'},
            {'Connection': 'upgrade-not'},
            {'Host': None},
            {'Host': 'a b'},
            {'Host': 'a/b'},
            {'Host': 'a, b@c'},
            {'Sec_WebSocket_Version': None},
            {'Sec_WebSocket_Version': '12'},
            {'Sec_WebSocket_Version': 'x'},
            {'Sec_WebSocket_Key': None},
            {'Sec_WebSocket_Key': ''},
            {'Sec_WebSocket_Key': 'AAAA'},
            {'Sec_WebSocket_Key': 'A'},
            {'Sec_WebSocket_Key': '\u00e4' * 24},
            {'version': 'HTTP/1.0'},
        ],
        ids=str,
    )
    def test_one_that_is_wrong_is_refused_and_makes_no_session(
        self, host: Host, headers: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        status = self.ask(host, **headers).partition(b' ')[2][:3]
        assert status in (b'400', b'426')
        assert host.engine.sockets == {}
        assert not any(record.levelno >= logging.ERROR for record in caplog.records)

    @pytest.mark.parametrize('number', ['8', '12', '14', 'x', ''])
    def test_one_of_another_version_is_told_which_to_try(self, host: Host, number: str) -> None:
        answer = self.ask(host, Sec_WebSocket_Version=number).split(b'\r\n')
        assert answer[0].startswith(b'HTTP/1.1 400 ')
        assert b'Sec-WebSocket-Version: 13' in answer

    def test_others_are_not_told(self, host: Host) -> None:
        assert b'Sec-WebSocket-Version' not in self.ask(host, Sec_WebSocket_Key='A')

    @pytest.mark.parametrize('connection', ['Upgrade,keep-alive', 'a , UPGRADE\t', 'x,upgrade,y'])
    def test_upgrade_may_be_one_of_several_words(self, host: Host, connection: str) -> None:
        assert self.ask(host, Connection=connection).startswith(b'HTTP/1.1 101 ')

    def test_a_frame_that_comes_with_the_handshake_is_read(self, host: Host) -> None:
        assert self.ask(host, extra=message('40') + message('4early')).endswith(b'4early')

    def test_a_client_that_is_gone_before_the_answer_leaves_nothing(self, host: Host) -> None:
        for _ in range(20):
            with socket.create_connection(host.address) as raw:
                raw.sendall(self.request())
        gevent.sleep(0.1)
        assert host.engine.sockets == {}


class TestGreeting:
    """What a connection is before anybody knows what it wants."""

    HANDSHAKE = TestHandshake().request()

    def test_a_handshake_may_come_in_pieces(self, host: Host) -> None:
        for cut in (1, 20, 100, len(self.HANDSHAKE) - 1):
            with socket.create_connection(host.address) as raw:
                raw.settimeout(2)
                raw.sendall(self.HANDSHAKE[:cut])
                gevent.sleep(0.01)
                raw.sendall(self.HANDSHAKE[cut:])
                assert raw.recv(1000).startswith(b'HTTP/1.1 101 ')

    def test_a_handshake_too_long_to_look_at_is_served_all_the_same(self, host: Host) -> None:
        with socket.create_connection(host.address) as raw:
            raw.settimeout(2)
            raw.sendall(TestHandshake().request(Cookie='x' * 7_900))
            assert raw.recv(1000).startswith(b'HTTP/1.1 101 ')

    def test_one_that_says_nothing_is_closed_after_a_while(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handshake, 'SILENCE', 0.1)
        with socket.create_connection(host.address) as raw:
            raw.settimeout(2)
            assert 0.08 < seconds(lambda: raw.recv(1)) < 2
        wait_for(lambda: not host.http.silent)

    def test_one_that_goes_without_a_word_is_let_go(self, host: Host) -> None:
        for how in (0, 1):
            raw = socket.create_connection(host.address)
            gevent.sleep(0.01)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', how, 0))
            raw.close()
        wait_for(lambda: not host.http.silent, within=1)

    def test_those_that_are_reset_keep_nobody_waiting(self, host: Host, capfd: pytest.CaptureFixture[str]) -> None:
        def reset() -> None:
            raw = socket.create_connection(host.address)
            raw.sendall(self.HANDSHAKE)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            raw.close()

        longest = 0.0
        for _ in range(20):
            for _ in range(10):
                reset()
            longest = max(longest, seconds(lambda: requests.get(host.url, timeout=2)))
        assert longest < 1.5
        gevent.sleep(0.05)
        assert host.engine.sockets == {}
        assert 'Traceback' not in capfd.readouterr().err

    @pytest.mark.parametrize(
        'request_bytes',
        [
            b'nonsense\r\n\r\n',
            b'GET / HTTP/1\r\n\r\n',
            b'GET / HTTP/x.y\r\n\r\n',
            b'GET / HTTP/9.9\r\n\r\n',
            b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
            b'GET /socket.io/ HTTP/1.1\r\nno colon\r\n\r\n',
            b'POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n',
            b'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
            b'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: ',
        ],
        ids=repr,
    )
    @pytest.mark.parametrize('reset', [False, True])
    def test_what_is_no_http_is_not_worth_a_traceback(
        self,
        host: Host,
        request_bytes: bytes,
        reset: bool,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with socket.create_connection(host.address) as raw:
            raw.sendall(request_bytes)
            gevent.sleep(0.005)
            if reset:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        gevent.sleep(0.02)
        assert 'Traceback' not in capfd.readouterr().err
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
        assert requests.get(host.url, timeout=2).status_code == 404


class TestOrigins:
    def ask(self, host: Host, origin: str | None, method: str = 'GET', **headers: str) -> requests.Response:
        if origin is not None:
            headers['Origin'] = origin
        url = engine_url(host.url, EIO='4', transport='polling')
        return requests.request(method, url, headers=headers, timeout=2)

    def websocket_is_let_in(self, host: Host, origin: str | None) -> bool:
        url = engine_url(host.url, EIO='4', transport='websocket').replace('http', 'ws', 1)
        try:
            websocket.create_connection(url, timeout=2, origin=origin, suppress_origin=origin is None).close()
        except websocket.WebSocketBadStatusException as error:
            assert error.status_code == 403
            return False
        return True

    def is_let_in(self, host: Host, origin: str | None) -> bool:
        answer = self.ask(host, origin)
        assert answer.status_code in (200, 403)
        assert answer.ok == self.websocket_is_let_in(host, origin)
        assert answer.ok or not any(name.startswith('Access-Control') for name in answer.headers)
        return answer.ok

    def test_by_default_only_pages_of_the_same_host_and_port(self, host: Host) -> None:
        port = host.http.server_port
        assert self.is_let_in(host, None)
        assert self.is_let_in(host, f'http://127.0.0.1:{port}')
        assert self.is_let_in(host, f'https://127.0.0.1:{port}')  # TLS may end at a proxy
        for origin in (
            'http://127.0.0.1',
            f'http://127.0.0.1:{port + 1}',
            f'http://localhost:{port}',
            f'http://127.0.0.1:{port}.evil.example',
            f'http://evil.example/127.0.0.1:{port}',
            f'http://x@127.0.0.1:{port}',
            'https://evil.example',
            'null',
            '*',
            '',
        ):
            assert not self.is_let_in(host, origin), origin

    def test_the_case_of_a_host_does_not_matter(self, host: Host) -> None:
        assert self.ask(host, 'http://example.com:80', Host='Example.COM:80').ok

    def test_an_empty_host_is_not_the_same_as_none(self, host: Host) -> None:
        with socket.create_connection(host.address) as raw:
            raw.sendall(b'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: \r\nOrigin: null\r\n\r\n')
            assert raw.recv(100).startswith(b'HTTP/1.1 403 ')

    def test_those_of_a_list_and_the_same_host(self, start: Callable[..., Host]) -> None:
        host = start(origins=('https://a.example', 'http://b.example:8080'))
        for origin in ('https://a.example', 'http://b.example:8080', host.url):
            assert self.is_let_in(host, origin)
        for origin in (
            'http://a.example',
            'https://a.example:443',
            'https://a.example.evil',
            'null',
            'http://c.example',
        ):
            assert not self.is_let_in(host, origin), origin

    def test_null_can_be_named(self, start: Callable[..., Host]) -> None:
        assert self.is_let_in(start(origins=('null',)), 'null')

    def test_all(self, start: Callable[..., Host]) -> None:
        host = start(origins=('*',))
        for origin in (None, 'https://a.example', 'null', 'file://'):
            assert self.is_let_in(host, origin)
        headers = self.ask(host, 'https://a.example').headers
        assert headers['Access-Control-Allow-Origin'] == '*'
        assert 'Access-Control-Allow-Credentials' not in headers

    def test_a_page_that_is_let_in_may_read_the_answer(self, start: Callable[..., Host]) -> None:
        headers = self.ask(start(origins=('https://a.example',)), 'https://a.example').headers
        assert headers['Access-Control-Allow-Origin'] == 'https://a.example'
        assert headers['Access-Control-Allow-Credentials'] == 'true'
        assert headers['Vary'] == 'Origin'

    def test_a_page_that_is_let_in_may_read_an_error(self, start: Callable[..., Host]) -> None:
        url = engine_url(start(origins=('*',)).url, EIO='3', transport='polling')
        answer = requests.get(url, headers={'Origin': 'https://a.example'}, timeout=2)
        assert (answer.status_code, answer.headers['Access-Control-Allow-Origin']) == (400, '*')

    def test_a_preflight_is_answered(self, start: Callable[..., Host]) -> None:
        host = start(origins=('https://a.example',))
        answer = self.ask(
            host,
            'https://a.example',
            'OPTIONS',
            **{'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type,x-own'},
        )
        assert (answer.status_code, answer.content) == (204, b'')
        assert answer.headers['Access-Control-Allow-Origin'] == 'https://a.example'
        assert answer.headers['Access-Control-Allow-Methods'] == 'GET, POST'
        assert answer.headers['Access-Control-Allow-Headers'] == 'content-type,x-own'
        assert 'Content-Length' not in answer.headers  # RFC 9110 section 8.6
        assert host.engine.sockets == {}

    def test_a_preflight_of_a_foreign_page_is_refused(self, host: Host) -> None:
        assert self.ask(host, 'https://evil.example', 'OPTIONS').status_code == 403


def test_the_handshake_announces_true_milliseconds(start: Callable[..., Host]) -> None:
    host = start(ping_interval=0.3, ping_timeout=0.0125)
    handshake = Polling(host.url).handshake
    assert (handshake['pingInterval'], handshake['pingTimeout']) == (300, 12)
    assert handshake['maxPayload'] == MAX_POST


def test_its_answers_are_json_of_the_documents_form(host: Host) -> None:
    answer = requests.get(engine_url(host.url, EIO='4', transport='polling'), timeout=2)
    assert answer.headers['Content-Type'] == 'text/plain; charset=UTF-8'
    assert json.loads(answer.text[1:])['upgrades'] == ['websocket']
