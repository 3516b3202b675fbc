"""The insides of libraries that `reminder.websocket` and `reminder.app` build on: where an installed version has them
otherwise, this says so, before a server fails in a stranger way."""

import gc
import inspect
import logging
from collections.abc import Callable
from typing import Any

import engineio
import engineio.packet
import engineio.socket
import gevent
import geventwebsocket.handler
import geventwebsocket.websocket
import pytest
import schedule
import socketio
import socketio.packet
from gevent import monkey
from gevent.pywsgi import WSGIHandler, WSGIServer


def takes(function: Callable[..., Any], *positional: Any, **named: Any) -> bool:
    """Whether a function can be called so."""
    try:
        inspect.signature(function).bind(*positional, **named)
    except TypeError:
        return False
    return True


class TestEngineIO:
    def test_the_server_is_made_as_ours_makes_it(self) -> None:
        server = engineio.Server(
            async_mode='gevent',
            monitor_clients=False,
            logger=logging.getLogger('x'),
            ping_interval=0.3,
            ping_timeout=0.2,
        )
        assert (server.ping_interval, server.ping_timeout) == (0.3, 0.2)
        assert (server.sockets, server.handlers) == ({}, {})
        assert list(server.transports) == ['polling', 'websocket']
        assert isinstance(server.generate_id(), str)

    @pytest.mark.parametrize(
        'name', ['SERVER_DISCONNECT', 'CLIENT_DISCONNECT', 'PING_TIMEOUT', 'TRANSPORT_CLOSE', 'TRANSPORT_ERROR']
    )
    def test_it_has_these_reasons(self, name: str) -> None:
        assert isinstance(getattr(engineio.Server.reason, name), str)

    def test_handlers_are_kept_by_their_event(self) -> None:
        server = engineio.Server(async_mode='gevent')
        for event in ('connect', 'message', 'disconnect'):
            server.on(event, print)
        assert server.handlers == {'connect': print, 'message': print, 'disconnect': print}

    def test_what_ours_overrides_is_called_so(self) -> None:
        assert takes(engineio.Server.handle_request, None, {}, print)
        assert takes(engineio.Server.send_packet, None, 'sid', None)
        assert takes(engineio.socket.Socket.send, None, None)
        assert takes(engineio.socket.Socket.close, None, wait=True, abort=False, reason='x')

    def test_sending_goes_through_send_packet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[Any] = []
        server = engineio.Server(async_mode='gevent')
        monkeypatch.setattr(server, 'send_packet', lambda sid, packet: sent.append((sid, packet.encode())))
        server.send('sid', '2["x"]')
        assert sent == [('sid', '42["x"]')]

    def test_the_middleware_hands_over_what_lies_below_its_path_and_nothing_else(self) -> None:
        class Server:
            def handle_request(self, environ: dict[str, Any], start_response: object) -> list[bytes]:
                return [b'engine']

        application = socketio.WSGIApp(Server(), lambda environ, start_response: [b'other'])
        paths = ('/socket.io/', '/socket.io/x', '/socket.io', '/socket.iox/', '/')
        assert [application({'PATH_INFO': path}, print) for path in paths] == [
            [b'engine'],
            [b'engine'],
            [b'other'],
            [b'other'],
            [b'other'],
        ]


class TestSocketIO:
    @pytest.fixture
    def server(self) -> Any:
        return socketio.Server(
            client_manager=socketio.Manager(),
            serializer=socketio.packet.Packet,
            logger=logging.getLogger('x'),
            engineio_logger=logging.getLogger('x'),
            async_handlers=False,
            async_mode='gevent',
        )

    def test_it_makes_its_engine_by_a_method_and_gives_it_what_is_not_its_own(self) -> None:
        class Engine(engineio.Server):  # type: ignore[misc]
            def __init__(self, **options: Any) -> None:
                super().__init__(
                    async_mode='gevent', **{name: options.pop(name) for name in ('logger', 'async_handlers')}
                )
                self.options = options

        class Server(socketio.Server):  # type: ignore[misc]
            def _engineio_server_class(self) -> type:
                return Engine

        server = Server(
            logger=logging.getLogger('x'), engineio_logger=logging.getLogger('x'), ping_interval=1, origins='*'
        )
        assert server.eio.options == {'ping_interval': 1, 'origins': '*'}
        assert set(server.eio.handlers) == {'connect', 'message', 'disconnect'}

    def test_what_ours_calls_and_overrides_is_called_so(self, server: Any) -> None:
        assert takes(server._handle_event, 'eio', '/', 1, ['x'])
        assert takes(server._handle_disconnect, 'eio', '/', 'reason')
        assert takes(server._handle_eio_disconnect, 'eio', 'reason')
        assert takes(server._send_packet, 'eio', None)
        assert takes(socketio.Manager.basic_enter_room, None, 'sid', '/', None, eio_sid='eio')
        assert takes(socketio.packet.Packet, 0, {}, '/')
        assert takes(socketio.packet.Packet, encoded_packet='2["x"]')

    def test_packet_types_have_these_numbers(self) -> None:
        names = ('CONNECT', 'DISCONNECT', 'EVENT', 'ACK', 'CONNECT_ERROR', 'BINARY_EVENT', 'BINARY_ACK')
        assert [getattr(socketio.packet, name) for name in names] == list(range(7))

    def test_a_packet_is_decoded_by_its_own_method_which_says_how_many_attachments_follow(self) -> None:
        class Packet(socketio.packet.Packet):  # type: ignore[misc]
            def decode(self, encoded_packet: str) -> int:
                self.text = encoded_packet
                return 3

        packet = Packet(encoded_packet='2["x"]')
        assert (packet.text, packet.attachment_count) == ('2["x"]', 3)

    def test_a_client_enters_two_rooms_when_it_connects_and_one_holds_all(self) -> None:
        entered: list[Any] = []

        class Manager(socketio.Manager):  # type: ignore[misc]
            def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
                entered.append((sid, room))
                if room != sid:
                    super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)

        server = socketio.Server(client_manager=Manager(), async_mode='gevent')
        sid = server.manager.connect('eio', '/')
        assert entered == [(sid, None), (sid, sid)]
        assert server.manager.sid_from_eio_sid('eio', '/') == sid
        assert server.manager.is_connected(sid, '/')
        assert server.manager.sid_from_eio_sid('eio', '/other') is None

        reasons: list[str] = []
        server.on('disconnect', lambda sid, reason: reasons.append(reason))
        server._handle_eio_disconnect('eio', 'gone')
        assert reasons == ['gone']
        assert server.manager.sid_from_eio_sid('eio', '/') is None
        assert server.manager.rooms == {}

    def test_an_event_is_handled_by_whoever_calls_and_its_return_value_is_the_ack(
        self, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[Any] = []
        monkeypatch.setattr(server, '_send_packet', lambda eio_sid, packet: sent.append((eio_sid, packet.encode())))
        server.on('command', lambda sid, *arguments: {'got': arguments})
        server.manager.connect('eio', '/')
        server._handle_event('eio', '/', 7, ['command', 1, 2])
        server._handle_event('eio', '/', None, ['command'])
        server._handle_event('eio', '/', 8, ['unknown'])
        assert sent == [('eio', '37[{"got":[1,2]}]')]

    def test_the_environment_of_a_session_is_let_go_with_it(self, server: Any) -> None:
        server._handle_eio_connect('eio', {'REMOTE_ADDR': '::1'})
        assert server.environ == {'eio': {'REMOTE_ADDR': '::1'}}
        server._handle_eio_disconnect('eio', 'gone')
        assert server.environ == {}


class TestGeventWebSocket:
    def test_the_handler_asks_a_hook_of_the_server_first_and_then_runs_the_websocket(self) -> None:
        source = inspect.getsource(geventwebsocket.handler.WebSocketHandler.run_application)
        assert source.index('self.server.pre_start_hook(self)') < source.index('self.upgrade_websocket()')
        assert source.index('self.upgrade_websocket()') < source.index('self.run_websocket()')
        assert issubclass(geventwebsocket.handler.WebSocketHandler, WSGIHandler)

    def test_its_logger_is_the_servers_own_where_that_has_one(self) -> None:
        class Server:
            logger = logging.getLogger('x')

        handler = geventwebsocket.handler.WebSocketHandler.__new__(geventwebsocket.handler.WebSocketHandler)
        handler.server = Server
        assert handler.logger is Server.logger

    def test_a_websocket_that_counts_as_closed_sends_nothing_when_it_is_collected(self) -> None:
        class Stream:
            handler = None
            read = None

            def write(self, data: bytes) -> None:
                written.append(data)

        written: list[bytes] = []
        websocket = geventwebsocket.websocket.WebSocket({}, Stream(), None)
        websocket.closed = True
        del websocket
        gc.collect()
        assert written == []


class TestGevent:
    def test_a_handler_has_the_attributes_that_ours_takes_over(self) -> None:
        class Handler(WSGIHandler):  # type: ignore[misc]
            def handle(self) -> None:
                seen.update(vars(self))

        seen: dict[str, Any] = {}
        ours, theirs = gevent.socket.socketpair()
        with ours, theirs:
            Handler(ours, 'address', object()).handle()
            assert seen['socket'] is ours
            assert seen['client_address'] == 'address'
            ours.settimeout(0)
            assert seen['rfile'].peek() == b''
            theirs.sendall(b'early')
            assert seen['rfile'].peek() == b'early'

    def test_a_handler_without_a_socket_closes_none(self) -> None:
        source = inspect.getsource(WSGIHandler.handle)
        assert 'while self.socket is not None' in source
        assert 'if self.socket is not None' in source

    def test_the_http_server_is_made_as_ours_is(self) -> None:
        assert takes(
            WSGIServer.__init__,
            None,
            ('127.0.0.1', 0),
            print,
            backlog=1,
            handler_class=WSGIHandler,
            log=None,
            error_log=logging.getLogger('x'),
        )
        assert takes(WSGIServer.stop, None, timeout=0.5)

    def test_a_detached_socket_leaves_its_descriptor_open(self) -> None:
        ours, theirs = gevent.socket.socketpair()
        raw_class = monkey.get_original('socket', 'socket')
        assert raw_class is not gevent.socket.socket
        with theirs, raw_class(fileno=ours.detach()) as raw:
            assert ours.fileno() == -1
            raw.setblocking(False)
            with pytest.raises(BlockingIOError):
                raw.recv(1)
            raw.send(b'x')
            assert theirs.recv(1) == b'x'

    def test_a_watcher_is_started_stopped_and_closed(self) -> None:
        ours, theirs = gevent.socket.socketpair()
        with ours, theirs:
            calls: list[str] = []
            watcher = gevent.get_hub().loop.io(ours.fileno(), 1)
            assert not watcher.active
            watcher.start(lambda: calls.append(ours.recv(1).decode()))
            assert watcher.active
            theirs.sendall(b'a')
            gevent.idle()
            watcher.stop()
            assert not watcher.active
            theirs.sendall(b'b')
            gevent.idle()
            watcher.close()
            assert calls == ['a']


class TestSchedule:
    def test_a_scheduler_says_how_long_it_has_nothing_to_do(self) -> None:
        scheduler = schedule.Scheduler()
        before = scheduler.idle_seconds
        assert before is None
        scheduler.every(1).minute.at(':59').do(print)
        after = scheduler.idle_seconds
        assert after is not None and 0 < after <= 60
        scheduler.clear()
        assert scheduler.jobs == []

    def test_it_reckons_in_naive_local_time(self) -> None:
        job = schedule.Scheduler().every(1).second.do(print)
        assert job.next_run.tzinfo is None
