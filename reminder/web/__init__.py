"""Plain HTTP beside Socket.IO: a door is a list of routes, each a werkzeug `Rule` whose endpoint answers requests.

What all answers have in common is decided here, and nothing else: no door knows of another.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from reminder.logs import REQUEST

Endpoint = Callable[..., Response]
"""Answers a request, which comes with what the rule found in the path. Raises HTTPException for what is refused."""
StartResponse = Callable[..., Any]
_ID = re.compile(r'[A-Za-z0-9._-]{1,64}', re.ASCII)


class Web:
    """A WSGI application of several doors."""

    def __init__(self, *doors: Iterable[Rule]) -> None:
        self._routes = Map([rule for door in doors for rule in door], merge_slashes=False)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answers what its doors have a route for. What is refused is answered like a failure."""
        id = _request_id(environ)
        token = REQUEST.set(id)
        try:
            endpoint, found = self._routes.bind_to_environ(environ).match()
            response = endpoint(Request(environ), **found)
        except HTTPException as refusal:
            response = _refused(refusal)
        finally:
            REQUEST.reset(token)
        response.headers['X-Request-Id'] = id
        response.headers.setdefault('Cache-Control', 'no-store')
        response.headers['X-Content-Type-Options'] = 'nosniff'
        body: Iterable[bytes] = response(environ, start_response)
        return body


def _request_id(environ: dict[str, Any]) -> str:
    """What the request is called in the log: as a proxy before us calls it, if any does."""
    given = environ.get('HTTP_X_REQUEST_ID', '')
    return given if _ID.fullmatch(given) else secrets.token_hex(8)


def _refused(refusal: HTTPException) -> Response:
    told = refusal.description != type(refusal).description  # the library's own are for people before a browser
    error = refusal.description if told else refusal.name.lower()
    body = json.dumps({'status': 'failure', 'error': error}, ensure_ascii=False) + '\n'
    response = Response(body, refusal.code, content_type='application/json')
    for name, value in refusal.get_headers():
        if name != 'Content-Type':
            response.headers[name] = value
    return response
