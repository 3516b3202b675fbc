"""The page that people open in a browser, and its parts, of which other pages may import the Socket.IO client."""

import hashlib
from collections.abc import Callable
from importlib import resources

from werkzeug import Request, Response
from werkzeug.routing import Rule

TYPES = {
    'html': 'text/html; charset=utf-8',
    'css': 'text/css; charset=utf-8',
    'js': 'text/javascript; charset=utf-8',
    'svg': 'image/svg+xml',
}
SHARED = 'socket.js'
"""What pages of other origins may import."""
HEADERS = {
    # Nothing from elsewhere, nothing inline, and no text that becomes HTML.
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    # Kept, and asked for each time whether it is still the same.
    'Cache-Control': 'no-cache',
}


def routes() -> list[Rule]:
    """The page at `/`, its parts below `/static/`. Reads them all from the package, once."""
    files = sorted(resources.files('reminder.web').joinpath('static').iterdir(), key=lambda file: file.name)
    parts = {file.name: _part(file.name, file.read_bytes()) for file in files if file.is_file()}
    return [
        Rule('/', methods=['GET'], endpoint=parts.pop('index.html')),
        *(Rule(f'/static/{name}', methods=['GET'], endpoint=part) for name, part in parts.items()),
    ]


def _part(name: str, body: bytes) -> Callable[[Request], Response]:
    etag = hashlib.sha256(body).hexdigest()[:32]

    def answer(request: Request) -> Response:
        response = Response(body, headers=HEADERS, content_type=TYPES[name.rpartition('.')[2]])
        if name == SHARED:
            response.headers['Access-Control-Allow-Origin'] = '*'
        response.set_etag(etag)
        return response.make_conditional(request)

    return answer
