"""`/metrics`, which Prometheus scrapes: for everybody on a server without tokens, else for who has the scope `manage`.

It holds no name of an event, no address and nobody's subject. Prometheus sends the token by `authorization` in its
scrape settings.
"""

from collections.abc import Callable

from werkzeug import Request, Response
from werkzeug.routing import Rule

from reminder.services.identity import MANAGE
from reminder.services.tokens import Tokens
from reminder.web.authorization import authorized, bearer


def routes(expose: Callable[[str], tuple[bytes, str]], tokens: Tokens, now: Callable[[], int]) -> list[Rule]:
    """`expose`: the metrics for a header `Accept`, and their content type. `now` gives the instant (ms, UTC)."""

    def metrics(request: Request) -> Response:
        authorized(tokens, bearer(request), now(), MANAGE)
        text, content_type = expose(request.headers.get('Accept', ''))
        return Response(text, content_type=content_type)

    return [Rule('/metrics', methods=['GET'], endpoint=metrics)]
