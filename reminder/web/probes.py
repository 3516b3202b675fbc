"""What programs that watch over a server ask: whether it is alive, whether it is ready, and what it understands."""

import json
from collections.abc import Callable, Mapping

from werkzeug import Request, Response
from werkzeug.routing import Rule

JSON = 'application/json; charset=utf-8'


def routes(health: Callable[[], dict[str, str]], documents: Mapping[str, bytes]) -> list[Rule]:
    """`health`: what keeps the server from being ready, {} where nothing does. `documents`: JSON, by path."""

    def ready(request: Request) -> Response:
        problems = health()
        answer = json.dumps({'ready': not problems, **problems}) + '\n'
        return Response(answer, 503 if problems else 200, content_type=JSON)

    return [
        Rule('/healthz', methods=['GET'], endpoint=lambda request: Response('ok\n')),
        Rule('/readyz', methods=['GET'], endpoint=ready),
        *(Rule(path, methods=['GET'], endpoint=_document(body)) for path, body in documents.items()),
    ]


def _document(body: bytes) -> Callable[[Request], Response]:
    return lambda request: Response(body, content_type=JSON)
