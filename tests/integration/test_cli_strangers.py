"""The command line against servers that are not what it expects: each time one line, no traceback."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import socketio
from gevent.pywsgi import WSGIServer
from geventwebsocket.handler import WebSocketHandler

from reminder.cli import main
from reminder.client import connection

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a WSGI application on a free port; returns its url."""
    servers = []

    def serve(application: Any) -> str:
        server = WSGIServer(('127.0.0.1', 0), application, log=None, handler_class=WebSocketHandler)
        server.start()
        servers.append(server)
        return f'http://127.0.0.1:{server.server_port}'

    yield serve
    for server in servers:
        server.stop(timeout=0)


def stranger(answer: Callable[[], Any], path: str = 'socket.io', refusal: str | None = None) -> socketio.WSGIApp:
    """A Socket.IO server that answers each `command` with `answer()`, and connections with `refusal` if it has one."""
    quiet = logging.Logger('stranger', logging.CRITICAL + 1)
    server = socketio.Server(async_mode='gevent', logger=quiet, engineio_logger=quiet)

    def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        if refusal is not None:
            raise socketio.exceptions.ConnectionRefusedError(refusal)

    def command(sid: str, *arguments: Any) -> Any:
        return answer()

    server.on('connect', connect)
    server.on('command', command)
    return socketio.WSGIApp(server, socketio_path=path)


@pytest.mark.parametrize(
    'answer',
    [
        None,
        3,
        [],
        {'status': 'success'},
        {'status': 'success', 'response': 'UTC'},
        {'status': 'failure'},
        {'status': 'failure', 'error': {'code': 1}},
    ],
)
def test_an_odd_answer_is_named(answer: Any, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    url = serve(stranger(lambda: answer))
    assert main(['timezones', '--url', url]) == 1
    assert capsys.readouterr().err == f'event-reminder: {url} does not answer as an event-reminder server does\n'


@pytest.mark.parametrize('command', ['list', 'history'])
def test_a_list_that_does_not_go_on_ends(command: str, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    page = {'events': [{'_id': '1'}], 'reminders': [{'_id': '1'}], 'next': 'here'}
    url = serve(stranger(lambda: {'status': 'success', 'response': page}))
    assert main([command, '--url', url]) == 0
    assert capsys.readouterr().out == '{"_id": "1"}\n' * 2


def test_no_answer_is_not_waited_for_for_ever(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, 'ANSWER_WITHIN', 0.1)
    url = serve(stranger(lambda: gevent.sleep(5)))
    assert main(['timezones', '--url', url]) == 1
    assert capsys.readouterr().err == f"event-reminder: no answer from {url} to 'getAllTimeZones'\n"


def test_a_refusal_is_shown_in_the_servers_words(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    url = serve(stranger(dict, refusal='members only\033[2J'))
    assert main(['listen', '--url', url]) == 1
    assert capsys.readouterr().err == f'event-reminder: {url} refuses the connection: members only\\x1b[2J\n'


@pytest.mark.parametrize('body', [b'', b'<!doctype html>', b'0{}', b'2'])
def test_a_web_server_of_another_kind_is_one_line(
    body: bytes, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    def application(_environ: Any, start_response: Any) -> list[bytes]:
        start_response('200 OK', [])
        return [body]

    url = serve(application)
    assert main(['timezones', '--url', url]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'event-reminder: cannot connect to {url}: ')


def test_a_server_may_live_under_a_path(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    url = serve(stranger(lambda: {'status': 'success', 'response': ['UTC']}, path='reminders/socket.io'))
    assert main(['timezones', '--url', f'{url}/reminders/']) == 0
    assert capsys.readouterr().out == 'UTC\n'
