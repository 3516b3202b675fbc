"""Plain HTTP beside Socket.IO: a door is a list of routes, each a werkzeug `Rule` whose endpoint answers requests.

What all answers have in common is decided here, and nothing else: no door knows of another.
"""

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from reminder.logs import REQUEST, request_id

logger = logging.getLogger(__name__)

Endpoint = Callable[..., Response]
"""Answers a request, which comes with what the rule found in the path. Raises HTTPException for what is refused."""
StartResponse = Callable[..., Any]


class Web:
    """A WSGI application of several doors."""

    def __init__(self, *doors: Iterable[Rule]) -> None:
        self._routes = Map([rule for door in doors for rule in door], merge_slashes=False)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answers what its doors have a route for. What is refused is answered like a failure."""
        id = request_id(environ.get('HTTP_X_REQUEST_ID', ''))
        token = REQUEST.set(id)
        try:
            endpoint, found = self._routes.bind_to_environ(environ).match()
            response = endpoint(Request(environ, populate_request=False), **found)
        except HTTPException as refusal:
            response = refused(refusal, environ)
        finally:
            REQUEST.reset(token)
        response.headers['X-Request-Id'] = id
        response.headers.setdefault('Cache-Control', 'no-store')
        response.headers['X-Content-Type-Options'] = 'nosniff'
        body: Iterable[bytes] = response(environ, start_response)
        return body


def refused(refusal: HTTPException, environ: dict[str, Any]) -> Response:
    """The answer to a request that is refused: a failure, like those of commands. It is in the log at debug."""
    told = refusal.description != type(refusal).description  # the library's own are for people before a browser
    error = refusal.description if told else refusal.name.lower()
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            '%(method)s %(path)s: %(error)s',
            {
                'event': 'refused',
                'method': environ['REQUEST_METHOD'],
                'path': environ.get('PATH_INFO'),  # without the query, which may hold a token
                'status': refusal.code,
                'error': error,
            },
        )
    body = json.dumps({'status': 'failure', 'error': error}, ensure_ascii=False) + '\n'
    response = Response(body, refusal.code, content_type='application/json')
    for name, value in refusal.get_headers():
        if name != 'Content-Type':
            response.headers[name] = value
    return response
