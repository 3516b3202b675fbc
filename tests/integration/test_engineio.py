"""Engine.IO 4 and WebSocket by hand, as their documents say (engine.io-protocol; RFC 6455)."""

import functools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
import requests
import websocket

from tests.server import Server
from tests.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    TEXT,
    Polling,
    SocketIO,
    WebSocket,
    engine_url,
)

INTERVAL, TIMEOUT = 0.3, 0.2
"""Those of the official test suites (s)."""
ATTEMPTS = 3

Case = TypeVar('Case', bound=type)


def in_time(case: Case) -> Case:
    """Tries each test of a class again where it fails: a busy machine may be too late for a heartbeat of 0.2 s."""

    def again(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*arguments: Any, **fixtures: Any) -> None:
            for _ in range(ATTEMPTS - 1):
                try:
                    return test(*arguments, **fixtures)
                except (AssertionError, OSError, websocket.WebSocketException):
                    continue
            return test(*arguments, **fixtures)

        return run

    for name, test in list(vars(case).items()):
        if name.startswith('test_'):
            setattr(case, name, again(test))
    return case


@pytest.fixture(scope='module')
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose heartbeat no test meets."""
    with Server(tmp_path_factory.mktemp('patient')) as server:
        yield server.start()


@pytest.fixture(scope='module')
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a quick heartbeat, in fractions of a second."""
    settings = {'PING_INTERVAL': str(INTERVAL), 'PING_TIMEOUT': str(TIMEOUT)}
    with Server(tmp_path_factory.mktemp('hasty'), **settings) as server:
        yield server.start()


@pytest.fixture(scope='module', params=['patient', 'hasty'])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of both: what a packet means does not depend on the heartbeat."""
    server: Server = request.getfixturevalue(request.param)
    return server


class Waiting:
    """A GET that waits for its answer beside the test."""

    def __init__(self, session: Polling):
        self._answers: list[requests.Response] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(session.get()))
        self._thread.start()
        time.sleep(0.1)

    def answer(self) -> requests.Response:
        self._thread.join(5)
        (answer,) = self._answers
        return answer


def is_closed_at_once(socket: WebSocket) -> bool:
    """Whether the server closes the connection now, before its heartbeat could."""
    begin = time.monotonic()
    socket.close_code()
    return time.monotonic() - begin < INTERVAL


class TestHandshake:
    def test_over_polling(self, hasty: Server) -> None:
        handshake = Polling(hasty.url).handshake
        assert isinstance(handshake.pop('sid'), str)
        assert handshake.pop('maxPayload') > 0
        assert handshake == {'upgrades': ['websocket'], 'pingInterval': 300, 'pingTimeout': 200}

    def test_over_websocket(self, hasty: Server) -> None:
        with WebSocket(hasty.url) as socket:
            opened = socket.read()
        handshake = json.loads(opened.removeprefix('0'))
        assert isinstance(handshake.pop('sid'), str)
        assert handshake.pop('maxPayload') > 0
        assert handshake == {'upgrades': [], 'pingInterval': 300, 'pingTimeout': 200}

    def test_the_defaults(self, patient: Server) -> None:
        handshake = Polling(patient.url).handshake
        assert (handshake['pingInterval'], handshake['pingTimeout']) == (25_000, 20_000)

    def test_sessions_have_ids_of_their_own(self, patient: Server) -> None:
        assert len({Polling(patient.url).handshake['sid'] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ('method', 'query'),
    [
        ('GET', {'EIO': '4'}),
        ('GET', {'EIO': '4', 'transport': 'abc'}),
        ('GET', {'EIO': '4', 'transport': ''}),
        ('GET', {'transport': 'polling'}),
        ('GET', {'transport': 'polling', 'EIO': 'abc'}),
        ('GET', {'transport': 'polling', 'EIO': '3'}),
        ('GET', {'transport': 'polling', 'EIO': '5'}),
        ('GET', {'EIO': '4', 'transport': 'websocket'}),  # without an upgrade
        ('GET', {'EIO': '4', 'transport': 'polling', 'sid': 'nobody'}),
        ('POST', {'EIO': '4', 'transport': 'polling', 'sid': 'nobody'}),
        ('POST', {'EIO': '4', 'transport': 'polling'}),
        ('PUT', {'EIO': '4', 'transport': 'polling'}),
        ('DELETE', {'EIO': '4', 'transport': 'polling'}),
    ],
)
class TestBadRequests:
    def test_a_request_that_the_protocol_does_not_know_is_400(
        self, server: Server, method: str, query: dict[str, str]
    ) -> None:
        assert requests.request(method, engine_url(server.url, **query), timeout=5).status_code == 400


@pytest.mark.parametrize(
    'query',
    [
        {'EIO': '4'},
        {'EIO': '4', 'transport': 'abc'},
        {'transport': 'websocket'},
        {'transport': 'websocket', 'EIO': '3'},
        {'transport': 'polling', 'EIO': '4'},
        {'transport': 'websocket', 'EIO': '4', 'sid': 'nobody'},
    ],
)
def test_a_websocket_that_the_protocol_does_not_know_is_refused(server: Server, query: dict[str, str]) -> None:
    address = engine_url(server.url, **query).replace('http', 'ws', 1)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(address, timeout=5)
    assert refused.value.status_code == 400


@in_time
class TestHeartbeat:
    def test_pings_come_at_the_interval_while_pongs_do(self, hasty: Server) -> None:
        with SocketIO(hasty.url) as socket:
            begin = time.monotonic()
            for _ in range(4):
                while socket.read() != '2':
                    continue
                socket.send('3')
            assert 3.5 * INTERVAL < time.monotonic() - begin < 4 * INTERVAL + 1.5

    def test_pings_come_to_a_polling_client_too(self, hasty: Server) -> None:
        session = Polling(hasty.url)
        session.post('40')
        packets: list[str] = []
        while packets.count('2') < 3:
            packets += session.get().text.split('\x1e')
            if packets[-1] == '2':
                assert session.post('3').text == 'ok'

    def test_a_websocket_client_that_does_not_answer_is_closed_after_the_timeout(self, hasty: Server) -> None:
        with SocketIO(hasty.url) as socket:
            while socket.read() != '2':
                continue
            begin = time.monotonic()
            socket.close_code()
            assert TIMEOUT * 0.8 < time.monotonic() - begin < TIMEOUT + 1.5

    def test_a_polling_client_that_does_not_answer_has_no_session_after_the_timeout(self, hasty: Server) -> None:
        session = Polling(hasty.url)
        session.post('40')
        time.sleep(INTERVAL + TIMEOUT + 0.2)
        assert (session.get().status_code, session.post('3').status_code) == (400, 400)

    def test_a_client_that_pings_goes_the_wrong_way(self, patient: Server) -> None:
        with SocketIO(patient.url) as socket:
            socket.send('2')
            assert is_closed_at_once(socket)


@in_time
class TestPolling:
    def test_several_packets_in_one_post_and_one_get(self, server: Server) -> None:
        session = Polling(server.url)
        assert session.post('40').text == 'ok'
        commands = ['421["command",{}]', '422["command",1]', '423["command"]']
        answer = session.post(*commands)
        assert (answer.status_code, answer.text) == (200, 'ok')
        assert answer.headers['Content-Type'] == 'text/plain; charset=UTF-8'
        packets: list[str] = []
        while sum(packet.startswith('43') for packet in packets) < 3:
            packets += session.get().text.split('\x1e')
        assert {packet[:3] for packet in packets if packet.startswith('43')} == {'431', '432', '433'}

    def test_more_than_16_packets_in_one_post_are_all_handled(self, server: Server) -> None:
        session = Polling(server.url)
        session.post('40')
        session.post(*(f'42{number}["command",{{}}]' for number in range(100)))
        packets: set[str] = set()
        while len(packets) < 100:
            packets |= {packet.partition('[')[0] for packet in session.get().text.split('\x1e') if packet[:2] == '43'}

    def test_a_get_waits_until_there_is_something(self, server: Server) -> None:
        session = Polling(server.url)
        session.post('40')
        session.get()
        while session.post('4299["command",{}]') and not session.get().text.startswith('4399['):
            continue
        waiting = Waiting(session)
        session.post('421["command",{}]')
        assert waiting.answer().text.startswith('431[')

    def test_a_client_that_closes_gets_its_waiting_get_answered_with_a_noop(self, server: Server) -> None:
        session = Polling(server.url)
        waiting = Waiting(session)
        assert session.post('1').status_code == 200
        assert (waiting.answer().status_code, waiting.answer().text) == (200, '6')
        assert (session.get().status_code, session.post('40').status_code) == (400, 400)

    def test_a_second_get_while_one_waits_ends_the_session(self, server: Server) -> None:
        session = Polling(server.url)
        waiting = Waiting(session)
        assert session.get().status_code == 400
        assert (waiting.answer().status_code, waiting.answer().text) == (200, '1')
        assert session.get().status_code == 400

    @pytest.mark.parametrize('body', [b'abc', b'9', b'4\x1e', b'\x1e', b'', b'\xff\xfe', b'40\x1eabc'])
    def test_a_malformed_post_ends_the_session(self, server: Server, body: bytes) -> None:
        session = Polling(server.url)
        assert session.post_bytes(body).status_code == 400
        assert session.get().status_code == 400

    def test_text_and_binary_packets_in_one_post(self, server: Server) -> None:
        session = Polling(server.url)
        placeholders = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
        assert (
            session.post('40', f'452-789["command",{placeholders}]', 'bAQIDBA==', 'bBQ==', '421["command"]').text
            == 'ok'
        )
        packets = ''
        while not ('43789[' in packets and '431[' in packets):
            packets += session.get().text

    def test_a_binary_packet_that_no_packet_announced_ends_the_session(self, server: Server) -> None:
        session = Polling(server.url)
        session.post('40')
        session.post('bAQID')
        while session.get().status_code == 200:
            continue
        assert session.post('40').status_code == 400

    def test_a_post_beyond_the_announced_size_is_refused(self, server: Server) -> None:
        session = Polling(server.url)
        body = b'4' * (session.handshake['maxPayload'] + 1)
        assert session.post_bytes(body).status_code in (400, 413)


@in_time
class TestUpgrade:
    def test_a_session_moves_from_polling_to_websocket(self, server: Server) -> None:
        session = Polling(server.url)
        session.post('40')
        assert session.get().text.startswith('40{')
        with session.probe() as socket:
            socket.send('2probe')
            assert socket.read() == '3probe'
            while (text := session.get().text) != '6':  # ends the poll, perhaps after what was waiting
                assert text.startswith('42')
            socket.send('5')
            socket.send('421["command",{}]')
            while not (packet := socket.read()).startswith('431['):
                assert packet == '6' or packet.startswith('42')

    def test_a_client_may_move_without_waiting_for_the_answer_to_its_probe(self, server: Server) -> None:
        session = Polling(server.url)
        with session.probe() as socket:
            for packet in ('2probe', '5', '40'):
                socket.send(packet)
            assert socket.read() == '3probe'
            while not (packet := socket.read()).startswith('40{'):
                assert packet == '6'
            assert session.get().status_code == 400

    def test_a_get_that_waits_is_let_go_by_the_probe(self, server: Server) -> None:
        session = Polling(server.url)
        waiting = Waiting(session)
        with session.probe() as socket:
            socket.send('2probe')
            assert socket.read() == '3probe'
            assert waiting.answer().text == '6'

    def test_packets_that_wait_move_along(self, server: Server) -> None:
        session = Polling(server.url)
        with session.probe() as socket:
            socket.send('2probe')
            assert socket.read() == '3probe'
            session.post('40')
            socket.send('5')
            while not (packet := socket.read()).startswith('40{'):
                assert packet == '6'

    def test_after_it_the_session_is_closed_to_http_and_to_other_websockets(self, server: Server) -> None:
        session = Polling(server.url)
        with session.probe() as socket:
            socket.send('2probe')
            assert socket.read() == '3probe'
            socket.send('5')
            socket.send('40')
            while not socket.read().startswith('40{'):
                continue
            assert (session.get().status_code, session.post('40').status_code) == (400, 400)
            with pytest.raises(websocket.WebSocketBadStatusException):
                session.probe()
            socket.send('421["command",{}]')
            while not socket.read().startswith('431['):
                continue

    def test_a_probe_that_is_given_up_leaves_the_session_on_polling(self, server: Server) -> None:
        session = Polling(server.url)
        with session.probe() as socket:
            socket.send('2probe')
            assert socket.read() == '3probe'
        time.sleep(0.1)
        assert session.post('40').text == 'ok'
        while not session.get().text.startswith('40{'):
            continue

    @pytest.mark.parametrize('first', ['5', '40', 'abc', '2', '3probe'])
    def test_a_probe_that_says_anything_else_is_closed(self, server: Server, first: str) -> None:
        with Polling(server.url).probe() as socket:
            socket.send(first)
            assert is_closed_at_once(socket)


@in_time
class TestSessionEnds:
    @pytest.mark.parametrize(
        'packet',
        [
            'abc',
            '9',
            '',
            ' 40',
            '4abc',
            '4',
            '42',
            '42{}',
            '42"command"',
            '42[]',
            '42[1]',
            '42["command"',
            '42abc["command",{}]',
            '47',
            '40[]',
            '0{}',
            '2probe',
            '3probe',
            '5',
            '7',
        ],
    )
    def test_a_malformed_packet_ends_it_at_once(self, server: Server, packet: str) -> None:
        with SocketIO(server.url) as socket:
            socket.send(packet)
            assert is_closed_at_once(socket)

    @pytest.mark.parametrize(
        'packet',
        [
            '42' + '[' * 30_000,
            '421["command",' + '9' * 5_000 + ']',
            '42' + '1' * 5_000 + '["command",{}]',
            '4٣["command",{}]',
            '42٣["command",{}]',
            '421["command",NaN]',
            '43["command"]',
            '51-["command",{"_placeholder":true,"num":0}]',
            '45999999999-["command",{"_placeholder":true,"num":0}]',
        ],
        ids=lambda packet: packet[:20],
    )
    def test_what_no_parser_should_take_harms_nobody_else(self, server: Server, packet: str) -> None:
        with SocketIO(server.url) as other, SocketIO(server.url) as socket:
            socket.send(packet)
            other.send('421["command",{}]')
            assert other.read_message().startswith('431[')

    def test_a_connect_that_is_malformed_ends_it_at_once(self, server: Server) -> None:
        with WebSocket(server.url) as socket:
            socket.read()
            socket.send('4abc')
            assert is_closed_at_once(socket)

    def test_a_noop_and_a_pong_that_nobody_asked_for_are_taken(self, server: Server) -> None:
        with SocketIO(server.url) as socket:
            for packet in ('6', '3', '421["command",{}]'):
                socket.send(packet)
            assert socket.read_message().startswith('431[')

    def test_a_command_with_attachments_is_answered_with_a_failure(self, server: Server) -> None:
        with SocketIO(server.url) as socket:
            socket.send('452-789["command",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
            for content in (b'\x01\x02\x03', b'\x04\x05\x06'):
                socket.send_frame(FIN | BINARY, content)
            assert socket.read_message().startswith('43789[{"status":"failure","error":"Invalid message passed')

    @pytest.mark.parametrize('text', ['b!!!not base64!!!', 'bAAA', 'b=', 'b\u00e4'])
    def test_an_attachment_in_text_that_is_no_base64_ends_it(self, server: Server, text: str) -> None:
        with SocketIO(server.url) as socket:
            socket.send('451-1["command",{"_placeholder":true,"num":0}]')
            socket.send(text)
            assert is_closed_at_once(socket)

    def test_a_client_that_leaves_the_namespace_keeps_its_connection_and_may_come_again(self, hasty: Server) -> None:
        with SocketIO(hasty.url) as socket:
            for _ in range(2):
                socket.send('41')
                while socket.read() != '2':
                    continue
                socket.send('3')
                socket.send('40')
                while not socket.read().startswith('40{'):
                    continue
            for _ in range(3):
                while socket.read() != '2':
                    continue
                socket.send('3')

    def test_a_client_that_leaves_the_namespace_for_good_is_closed(self, hasty: Server) -> None:
        with SocketIO(hasty.url) as socket:
            socket.send('41')
            assert lasts_at_most(socket, 5)

    def test_a_message_before_connect_ends_it(self, server: Server) -> None:
        with WebSocket(server.url) as socket:
            socket.read()
            socket.send('421["command",{}]')
            assert is_closed_at_once(socket)

    def test_a_client_that_closes_is_closed(self, server: Server) -> None:
        with SocketIO(server.url) as socket:
            socket.send('1')
            assert is_closed_at_once(socket)

    def test_a_client_that_never_connects_is_closed(self, hasty: Server) -> None:
        with WebSocket(hasty.url) as socket:
            socket.read()
            assert lasts_at_most(socket, 5)


def lasts_at_most(socket: WebSocket, seconds: float) -> bool:
    """Whether the server closes a connection in time whose client answers each ping."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        opcode, payload = socket.read_frame()
        if opcode == CLOSE:
            return True
        if payload == b'2':
            socket.send('3')
    return False


class TestFrames:
    def test_a_message_in_fragments_with_a_ping_between_them(self, patient: Server) -> None:
        with SocketIO(patient.url) as socket:
            socket.send_frame(TEXT, b'421["com')
            socket.send_frame(FIN | PING, b'are you there?')
            socket.send_frame(CONTINUATION, b'mand",')
            socket.send_frame(FIN | CONTINUATION, b'{}]')
            frames = [socket.read_frame()]
            while not frames[-1][1].startswith(b'431['):
                frames.append(socket.read_frame())
            assert (PONG, b'are you there?') in frames

    def test_a_message_that_comes_byte_by_byte(self, patient: Server) -> None:
        with SocketIO(patient.url) as socket:
            for byte in b'\x81\x91\0\0\0\x00421["command",{}]':
                socket.send_bytes(bytes((byte,)))
                time.sleep(0.001)
            assert socket.read_message().startswith('431[')

    def test_many_messages_in_one_piece(self, patient: Server) -> None:
        message = b'\x81\x91\0\0\0\x00421["command",{}]'
        with SocketIO(patient.url) as socket:
            socket.send_bytes(message * 100)
            for _ in range(100):
                assert socket.read_message().startswith('431[')

    def test_a_close_is_answered_with_a_close(self, patient: Server) -> None:
        with SocketIO(patient.url) as socket:
            socket.send_frame(FIN | CLOSE, (1000).to_bytes(2, 'big'))
            assert socket.close_code() == 1000

    @pytest.mark.parametrize(
        ('code', 'first', 'payload', 'masked'),
        [
            (1002, FIN | TEXT, b'3', False),
            (1002, FIN | TEXT | 0x40, b'3', True),
            (1002, FIN | TEXT | 0x10, b'3', True),
            (1002, FIN | 0x3, b'', True),
            (1002, FIN | 0xB, b'', True),
            (1002, PING, b'', True),
            (1002, FIN | PING, b'x' * 126, True),
            (1002, FIN | CONTINUATION, b'3', True),
            (1002, FIN | CLOSE, b'x', True),
            (1002, FIN | CLOSE, (1005).to_bytes(2, 'big'), True),
            (1002, FIN | CLOSE, (999).to_bytes(2, 'big'), True),
            (1007, FIN | TEXT, b'4\xff', True),
            (1007, FIN | TEXT, b'4\xed\xa0\x80', True),
        ],
    )
    def test_a_frame_that_breaks_the_protocol_is_answered_with_its_code(
        self, patient: Server, code: int, first: int, payload: bytes, masked: bool
    ) -> None:
        with SocketIO(patient.url) as socket:
            socket.send_frame(first, payload, masked)
            assert socket.close_code() == code

    def test_a_message_beyond_the_announced_size_is_refused_before_it_is_read(self, patient: Server) -> None:
        size = Polling(patient.url).handshake['maxPayload'] + 1
        with SocketIO(patient.url) as socket:
            socket.send_bytes(bytes((FIN | TEXT, 0x80 | 127)) + size.to_bytes(8, 'big') + b'mask')
            assert socket.close_code() == 1009

    def test_fragments_beyond_the_announced_size_are_refused(self, patient: Server) -> None:
        half = Polling(patient.url).handshake['maxPayload'] // 2 + 1
        with SocketIO(patient.url) as socket:
            socket.send_frame(TEXT, b'4' * half)
            socket.send_frame(CONTINUATION, b'4' * half)
            assert socket.close_code() == 1009

    def test_a_binary_message_that_no_packet_announced_ends_the_session(self, patient: Server) -> None:
        with SocketIO(patient.url) as socket:
            socket.send_frame(FIN | BINARY, b'\x01\x02\x03')
            socket.close_code()
