"""Plain HTTP: whether the server is alive and ready, what it is, and what it understands."""

import json
from collections.abc import Callable, Iterable
from typing import Any

Reply = tuple[str, str, bytes]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]

WHAT_THIS_IS = b'This is an event reminder server: connect with a Socket.IO client.\n'


class Web:
    """A WSGI application. `health` says what keeps the server from being ready: {} where nothing does.

    `asyncapi` is the document that describes the protocol.
    """

    def __init__(self, health: Callable[[], dict[str, str]], asyncapi: bytes) -> None:
        self._health = health
        self._routes: dict[str, Callable[[], Reply]] = {
            '/': lambda: ('200 OK', 'text/plain', WHAT_THIS_IS),
            '/healthz': lambda: ('200 OK', 'text/plain', b'ok\n'),
            '/readyz': self._ready,
            '/asyncapi.json': lambda: ('200 OK', 'application/json', asyncapi),
        }

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answers GET and HEAD on the known paths."""
        route = self._routes.get(environ['PATH_INFO'])
        headers = []
        if route is None:
            status, kind, body = '404 Not Found', 'text/plain', b'not found\n'
        elif environ['REQUEST_METHOD'] not in ('GET', 'HEAD'):
            status, kind, body = '405 Method Not Allowed', 'text/plain', b'method not allowed\n'
            headers.append(('Allow', 'GET, HEAD'))
        else:
            status, kind, body = route()
        headers += [
            ('Content-Type', f'{kind}; charset=utf-8'),
            ('Content-Length', str(len(body))),
            ('Cache-Control', 'no-store'),
            ('X-Content-Type-Options', 'nosniff'),
        ]
        start_response(status, headers)
        return [] if environ['REQUEST_METHOD'] == 'HEAD' else [body]

    def _ready(self) -> Reply:
        problems = self._health()
        status = '503 Service Unavailable' if problems else '200 OK'
        return status, 'application/json', json.dumps({'ready': not problems, **problems}).encode() + b'\n'
