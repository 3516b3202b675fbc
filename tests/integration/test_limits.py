"""Limits of time, rate and number: what is too slow, too fast or too much harms nobody."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import gevent
import pytest
import requests
from gevent import monkey
from gevent.event import Event

from reminder.websocket import deadlines, handler, handshake, inbox, outbox, payloads, session, workers
from reminder.websocket.encoded import Encoded
from reminder.websocket.outbox import Outbox
from reminder.websocket.session import Session
from tests.engine import Host, hosts, wait_for
from tests.wire import CLOSE, FIN, TEXT, Polling, WebSocket, engine_url, frame

LIMIT = 0.4
"""What is set as the limit that a test looks at (s); the others stay far beyond it."""
HEAD = b'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n'

Start = Callable[..., Host]


@pytest.fixture
def start() -> Iterator[Start]:
    with hosts() as start:
        yield start


class Raw:
    """A connection on which a request is sent bit by bit."""

    def __init__(self, host: Host) -> None:
        self._socket = socket.create_connection(host.address, timeout=5)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def drip(self, data: bytes, every: float = LIMIT / 8) -> float:
        """Sends `data` again and again until the server has had enough; returns how long (s) that took."""
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < 5:
                self.send(data)
                gevent.sleep(every)
        except OSError:
            return time.monotonic() - begun
        raise AssertionError('the server takes it for ever')

    def lasts(self) -> float:
        """How long (s) it is until the server closes the connection; what comes before is thrown away."""
        begun = time.monotonic()
        try:
            while self._socket.recv(65_536):
                pass
        except ConnectionError:
            pass
        return time.monotonic() - begun

    def answer(self) -> bytes:
        return self._socket.recv(65_536)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def connection(start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Raw]]:
    """Opens a connection to a server with one short limit, by its name."""
    with ExitStack() as stack:

        def connect(name: str) -> Raw:
            for module in (handler, handshake):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, LIMIT)
            return stack.enter_context(closing(Raw(start())))

        yield connect


class TestTime:
    def test_a_connection_that_says_nothing(self, connection: Callable[[str], Raw]) -> None:
        assert LIMIT / 2 < connection('SILENCE').lasts() < 3

    def test_a_request_line_that_comes_bit_by_bit(self, connection: Callable[[str], Raw]) -> None:
        assert connection('SILENCE').drip(b'G') < 3

    def test_headers_that_come_bit_by_bit(self, connection: Callable[[str], Raw]) -> None:
        slow = connection('SILENCE')
        slow.send(HEAD)
        assert LIMIT / 2 < slow.drip(b'X: y\r\n') < 3

    def test_a_head_in_all(self, connection: Callable[[str], Raw]) -> None:
        slow = connection('SILENCE')
        begun = time.monotonic()
        slow.send(b'GET /')
        gevent.sleep(0.9 * LIMIT)
        slow.send(b' HTTP/1.1\r\nHost: x\r\n')
        slow.drip(b'X: y\r\n')
        assert time.monotonic() - begun < 1.7 * LIMIT

    def test_the_head_of_a_later_request(self, connection: Callable[[str], Raw]) -> None:
        slow = connection('SILENCE')
        slow.send(HEAD + b'\r\n')
        assert slow.answer().startswith(b'HTTP/1.1 200')
        assert slow.drip(b'G') < 3

    @pytest.mark.parametrize('path', ['/elsewhere', '/socket.io/?EIO=4&transport=polling&sid='])
    def test_a_body_in_all(self, start: Start, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
        monkeypatch.setattr(handler, 'TRANSFER', LIMIT)
        host = start()
        path += host.polling().handshake['sid']
        with closing(Raw(host)) as slow:
            slow.send(f'POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n'.encode())
            assert slow.drip(b'6\x1e' * (payloads.PIECE // 2), every=0.7 * LIMIT) < 3 * LIMIT

    @pytest.mark.parametrize('refused', [False, True])
    def test_a_client_that_does_not_connect(self, start: Start, monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:
        monkeypatch.setattr(session, 'BEGIN', LIMIT)
        with WebSocket(start().url) as client:
            client.read()
            begun = time.monotonic()
            if refused:
                client.send('4no')  # answered, and still not connected
                assert client.read() == '4no'
            while client.read_frame()[0] != CLOSE:
                continue
            assert LIMIT / 2 < time.monotonic() - begun < 3

    def test_a_client_whose_connect_takes_its_time_is_none_of_these(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, 'BEGIN', LIMIT / 4)
        host = start()
        host.handle = lambda session, message: gevent.sleep(LIMIT)
        with WebSocket(host.url) as client:
            client.read()
            client.send('40')
            wait_for(lambda: host.session.established)

    def test_a_body_that_comes_bit_by_bit(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handler, 'TRANSFER', LIMIT)
        host = start()
        sid = host.polling().handshake['sid']
        with closing(Raw(host)) as slow:
            slow.send(f'POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\n'.encode())
            slow.send(b'Host: x\r\nContent-Length: 1000\r\n\r\n4')
            assert LIMIT / 2 < slow.drip(b'a') < 3
        assert host.session.established, 'what was not received whole was taken for a packet'

    def test_a_body_for_somebody_who_does_not_read_it(self, connection: Callable[[str], Raw]) -> None:
        slow = connection('TRANSFER')
        slow.send(b'POST /elsewhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n')
        assert slow.answer().startswith(b'HTTP/1.1 404')
        assert slow.drip(b'a') < 3

    def test_a_connection_that_asks_for_nothing_more(self, connection: Callable[[str], Raw]) -> None:
        idle = connection('IDLE')
        idle.send(HEAD + b'\r\n')
        assert idle.answer().startswith(b'HTTP/1.1 200')
        assert LIMIT / 2 < idle.lasts() < 3

    def test_an_answer_that_is_not_taken(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handler, 'TRANSFER', LIMIT)
        host = start()
        client = host.polling()
        for _ in range(16):
            host.session.write(b'4' + b'x' * 500_000)  # more than the buffers of both sockets hold
        wait_for(lambda: not len(host.http.pool))
        with closing(Raw(host)) as deaf:
            deaf._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sid = client.handshake['sid']
            deaf.send(f'GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
            wait_for(lambda: len(host.http.pool))
            wait_for(lambda: not len(host.http.pool))

    def test_requests_of_a_connection_leave_no_deadlines(self, start: Start) -> None:
        host = start()
        with closing(Raw(host)) as raw:
            for _ in range(100):
                raw.send(b'GET /socket.io/ HTTP/1.1\r\nHost: x\r\n\r\n')
                raw.answer()
            assert len(host.engine.deadlines._heap) < 2 * deadlines.SPARE

    def test_what_has_ended_leaves_no_deadlines(self, start: Start) -> None:
        host = start(max_connections=1_000)
        for _ in range(100):
            host.websocket().close()
            Polling(host.url).post('1')
            with closing(Raw(host)) as silent:
                silent.send(b'G')
        wait_for(lambda: (host.engine.shares.taken, host.http.visitors.taken) == (0, 0))
        assert len(host.engine.deadlines._heap) < 2 * deadlines.SPARE

    def test_a_poll_waits_for_as_long_as_it_may(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ('SILENCE', 'TRANSFER', 'IDLE'):
            monkeypatch.setattr(handler, name, LIMIT)
        host = start()
        client = host.polling()
        waiting = gevent.spawn(client.get)
        gevent.sleep(3 * LIMIT)
        host.session.write(b'4late')
        assert waiting.get(timeout=3).text == '4late'

    def test_a_post_waits_for_its_messages_for_as_long_as_they_take(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(handler, 'TRANSFER', LIMIT)
        monkeypatch.setattr(inbox, 'MAX_INBOX', 1)
        host = start()
        client = host.polling()
        host.session.established = False  # one message at a time
        host.handle = lambda session, message: gevent.sleep(LIMIT)
        assert client.post(*['4' + 'x' * 20_000] * 4).text == 'ok'


class TestSize:
    @pytest.mark.parametrize('lines', [b'X-Long: ' + b'x' * 20_000 + b'\r\n', b'X: y\r\n' * 4_000])
    def test_headers_that_are_too_large(self, start: Start, lines: bytes) -> None:
        with closing(Raw(start())) as large:
            large.send(HEAD + lines)
            assert large.answer().startswith(b'HTTP/1.1 400')

    def test_headers_as_browsers_send_them_are_not(self, start: Start) -> None:
        answer = requests.get(
            engine_url(start().url, EIO='4', transport='polling'), headers={'Cookie': 'x' * 8_000}, timeout=2
        )
        assert answer.status_code == 200

    @pytest.mark.parametrize('path', ['/', '/healthz', '/socket.io/?EIO=4&transport=polling', '/nothing'])
    @pytest.mark.parametrize(
        ('head', 'taken'),
        [
            ('HTTP/1.1\r\n', False),
            ('HTTP/1.1\r\nHost: a b\r\n', False),
            ('HTTP/1.1\r\nHost: a@b\r\n', False),
            ('HTTP/1.1\r\nHost: a:b\r\n', False),
            ('HTTP/1.1\r\nHost: a\r\nHost: a\r\n', False),
            ('HTTP/1.0\r\nHost: a/b\r\n', False),
            ('HTTP/1.0\r\n', True),
            ('HTTP/1.1\r\nHost:\r\n', True),
            ('HTTP/1.1\r\nHost: my_app.example:3000\r\n', True),
            ('HTTP/1.1\r\nHost: [::1]:3000\r\n', True),
        ],
    )
    def test_which_host_a_request_is_for_has_to_be_clear(self, start: Start, path: str, head: str, taken: bool) -> None:
        with closing(Raw(start())) as raw:
            raw.send(f'GET {path} {head}\r\n'.encode())
            status = raw.answer().partition(b'\r\n')[0].split(b' ', 2)[1]
        assert (status != b'400') == taken

    def test_a_body_that_is_far_too_large_ends_the_connection(self, start: Start) -> None:
        host = start()
        sid = host.polling().handshake['sid']
        with closing(Raw(host)) as large:
            large.send(f'POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n'.encode())
            large.send(b'Content-Length: 100000000\r\n\r\n')
            assert large.answer().startswith(b'HTTP/1.1 413')
            large.drip(b'x' * 65_536, every=0)

    @pytest.mark.parametrize(
        'headers',
        [
            b'Transfer-Encoding: xchunked\r\n',
            b'Content-Length: 5\r\nContent-Length: 5\r\n',
            b'Content-Length : 5\r\n',
            b' Content-Length: 5\r\n',
        ],
    )
    def test_a_body_whose_end_is_not_clear_is_refused(self, start: Start, headers: bytes) -> None:
        """A proxy might see two requests where we see one."""
        with closing(Raw(start())) as raw:
            raw.send(b'POST /elsewhere HTTP/1.1\r\nHost: x\r\n' + headers + b'\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n')
            answers = b''
            while data := raw.answer():
                answers += data
            assert answers.startswith(b'HTTP/1.1 400') and answers.count(b'HTTP/1.1') == 1

    @pytest.mark.parametrize(
        'head',
        [
            b'GET /calendar.ics?token=SECRET HTTP/9.9\r\n\r\n',
            b'GET /calendar.ics?token=SECRET HTTP/1.1 x\r\n\r\n',
            b'GET /calendar.ics?token=SECRET HTTP/SECRET.1\r\n\r\n',
            b'PUT /calendar.ics?token=SECRET\r\n\r\n',
            b'GET / HTTP/1.1\r\nAuthorization: Bearer SECRET\r\nContent-Length: SECRET\r\n\r\n',
            b'GET / HTTP/1.1\r\nAuthorization: Bearer SECRET\r\nno header: SECRET\r\n\r\n',
        ],
    )
    def test_what_is_no_request_is_in_the_log_without_what_was_sent(
        self, start: Start, head: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level('DEBUG')
        with closing(Raw(start())) as raw:
            raw.send(head)
            assert raw.answer().startswith(b'HTTP/1.1 400')
        (record,) = [record for record in caplog.records if 'event' in (record.args or ())]
        assert record.levelname == 'DEBUG' and 'from' in record.getMessage()
        assert 'SECRET' not in record.getMessage()

    @pytest.mark.parametrize('path', ['/elsewhere', '/socket.io/?EIO=4&transport=polling'])
    @pytest.mark.parametrize('more', ['', 'Content-Length: 5\r\n'])
    def test_chunks_are_refused_and_nothing_behind_them_is_read(self, start: Start, path: str, more: str) -> None:
        with closing(Raw(start())) as raw:
            raw.send(f'POST {path} HTTP/1.1\r\nHost: x\r\n{more}Transfer-Encoding: chunked\r\n\r\n'.encode())
            raw.send(b'0\r\n\r\nGET / HTTP/1.1\r\n\r\n')
            answers = b''
            while data := raw.answer():
                answers += data
            assert answers.startswith(b'HTTP/1.1 411') and answers.count(b'HTTP/1.1') == 1


class TestUnread:
    """What clients do not take is bounded for all together, too."""

    ANSWER = 10_000

    @pytest.fixture
    def host(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> Host:
        monkeypatch.setattr(outbox, 'MAX_UNREAD', 100_000)
        host = start()
        host.handle = self.handle
        return host

    def handle(self, session: Session, message: str) -> None:
        session.write(b'4' + message.encode() + (b'' if message == '0' else b'.' * self.ANSWER))

    def ask(self, client: WebSocket, count: int) -> None:
        """Has so many messages answered, without taking the answers."""
        client.send_bytes(b''.join(frame(FIN | TEXT, b'4%03d' % number) for number in range(count)))

    def test_one_of_many_that_take_nothing_gets_little(self, host: Host) -> None:
        with host.websocket(), host.websocket() as second:
            one, other = (session.transport for session in host.engine.sockets.values())
            one.write(b'4' + b'x' * 8_000_000)  # more than the buffers of both sockets hold
            self.ask(second, 1_000)
            gevent.sleep(0.2)
            assert Outbox.unread == one.waiting + other.waiting
            assert outbox.FEW < other.waiting < outbox.FEW + 2 * self.ANSWER
            for number in range(1_000):
                assert second.read()[1:4] == f'{number:03d}'

    def test_others_are_answered_and_reminded_meanwhile(self, host: Host) -> None:
        with host.websocket(), host.websocket() as client:
            one, reader = host.engine.sockets.values()
            one.write(b'4' + b'x' * 8_000_000)
            for number in range(20):
                self.ask(client, 1)
                assert client.read()[1:4] == '000'
                reader.write_chunk(Encoded([b'4' + b'x' * 60_000] * 5))
                assert [len(client.read()) for _ in range(5)] == [60_001] * 5, number

    def test_nothing_is_counted_any_more_in_the_end(self, host: Host) -> None:
        with host.websocket():
            host.session.write(b'4' + b'x' * 8_000_000)
            assert Outbox.unread > 100_000
        wait_for(lambda: not host.engine.sockets)
        polling = host.polling()
        polling.post('4a', '4b')
        assert Outbox.unread == 2 * (self.ANSWER + 2)
        assert len(polling.get().text) == 2 * (self.ANSWER + 2) + 1
        assert Outbox.unread == 0
        waiting = gevent.spawn(polling.get)
        wait_for(lambda: host.session.transport.idle)
        for _ in range(30):
            host.session.write(b'4c')
        host.session.close()
        assert waiting.get(timeout=3).text.count('4c') == 16
        wait_for(lambda: Outbox.unread == 0)
        host.polling().post('4a')
        host.session.close()
        assert Outbox.unread == 0


class TestRate:
    def test_messages_beyond_it_are_handled_later_in_order(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox, 'BURST', 0.5)
        host = start(rate_limit=100)
        with host.websocket() as client:
            begun = time.monotonic()
            for number in range(120):
                client.send(f'4{number}')
            assert [client.read() for _ in range(120)] == [f'4{number}' for number in range(120)]
            # 50 at once, the rest at 100 a second
            assert 0.5 < time.monotonic() - begun < 3

    def test_a_flood_is_not_read_meanwhile(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox, 'BURST', 0.1)
        host = start(rate_limit=10)
        with host.websocket() as client, host.websocket() as other:
            for _ in range(inbox.MAX_INBOX + 50):
                client.send('4a')
            wait_for(lambda: any(one._paused for one in host.engine.sockets.values()))
            begun = time.monotonic()
            other.send('4b')
            assert other.read() == '4b'
            assert time.monotonic() - begun < 0.25

    def test_a_slowed_client_that_leaves_is_forgotten(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox, 'BURST', 0.1)
        host = start(rate_limit=10)
        with host.websocket() as client:
            for _ in range(20):
                client.send('4a')
            wait_for(lambda: host.session._slowed)
        wait_for(lambda: not host.engine.sockets)
        gevent.sleep(2 * session.RATE_STEP)
        assert host.ended


class TestTurns:
    def test_one_that_floods_with_what_takes_no_time_leaves_others_their_turn(self, start: Start) -> None:
        host = start()
        blocking = monkey.get_original('time', 'sleep')
        with ExitStack() as stack:
            flooders = [stack.enter_context(host.websocket()) for _ in range(4)]
            other = stack.enter_context(host.websocket())
            host.handle = lambda session, message: blocking(0.001) if message == 'a' else session.write(b'4b')
            for flooder in flooders:
                for _ in range(500):
                    flooder.send('4a')
            begun = time.monotonic()
            other.send('4b')
            assert other.read() == '4b'
            assert time.monotonic() - begun < 1  # all of it takes two seconds

    def test_no_more_is_handled_at_once_than_is_bounded(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(workers, 'MAX_RUNNING', 3)
        host = start()
        running: list[str] = []
        gate = Event()

        def handle(session: Session, message: str) -> None:
            running.append(message)
            gate.wait()
            session.write(b'4' + message.encode())

        with host.websocket() as first, host.websocket() as second:
            host.handle = handle
            for text in 'abcdef':
                first.send(f'4{text}')
            wait_for(lambda: len(running) == 3)
            second.send('4second')
            gevent.sleep(0.1)
            assert running == ['a', 'b', 'c']
            gate.set()
            assert second.read() == '4second'
            assert [first.read() for _ in range(6)] == [f'4{text}' for text in 'abcdef']


class TestShares:
    def connect(self, host: Host, address: str) -> int:
        url = engine_url(host.url, EIO='4', transport='polling')
        return requests.get(url, headers={'X-Forwarded-For': address}, timeout=2).status_code

    def test_an_address_has_a_share_of_the_sessions(self, start: Start) -> None:
        host = start(max_connections=8, trusted_proxies=1)
        assert [self.connect(host, 'evil, 192.0.2.1') for _ in range(3)] == [200, 200, 503]
        assert self.connect(host, '192.0.2.1, 192.0.2.2') == 200

    def test_a_websocket_counts_as_well(self, start: Start) -> None:
        host = start(max_connections=4, trusted_proxies=1)
        with closing(Raw(host)) as raw:
            raw.send(
                b'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n'
                b'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
                b'X-Forwarded-For: 192.0.2.1\r\n\r\n'
            )
            assert raw.answer().startswith(b'HTTP/1.1 101')
            assert self.connect(host, '192.0.2.1') == 503
            assert self.connect(host, '192.0.2.2') == 200
        wait_for(lambda: self.connect(host, '192.0.2.1') == 200)

    def test_what_a_client_says_without_a_proxy_is_not_believed(self, start: Start) -> None:
        host = start(max_connections=4)
        assert [self.connect(host, '192.0.2.1') for _ in range(4)] == [200] * 4

    def test_connections_that_are_no_sessions_are_limited_too(self, start: Start) -> None:
        host = start(max_connections=4)
        with ExitStack() as stack:
            raws = [stack.enter_context(closing(Raw(host))) for _ in range(4 * handshake.VISITORS)]
            for raw in raws[1:]:
                raw.send(b'GET')
            wait_for(lambda: host.http.visitors.taken == len(raws))
            assert stack.enter_context(closing(Raw(host))).lasts() < 1
            raws[0].close()
            raws[1].close()
            wait_for(lambda: host.http.visitors.taken == len(raws) - 2)
            assert self.connect(host, '192.0.2.1') == 200

    def test_nothing_is_counted_any_more_in_the_end(self, start: Start) -> None:
        host = start(max_connections=4)
        for _ in range(3):
            Polling(host.url).post('41', '1')
            WebSocket(host.url).close()
            with closing(Raw(host)) as raw:
                raw.send(b'nonsense\r\n\r\n')
                raw.lasts()
        wait_for(lambda: (host.engine.shares.taken, host.http.visitors.taken) == (0, 0))
