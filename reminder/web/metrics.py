"""`/metrics`, which Prometheus scrapes: for everybody on a server without tokens, else for who has the scope `manage`.

It holds no name of an event, no address and nobody's subject. Prometheus sends the token by `authorization` in its
scrape settings.
"""

from collections.abc import Callable

from werkzeug import Request, Response
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.routing import Rule

from reminder.errors import InvalidInput
from reminder.services.identity import MANAGE
from reminder.services.tokens import Tokens


def routes(expose: Callable[[str], tuple[bytes, str]], tokens: Tokens, now: Callable[[], int]) -> list[Rule]:
    """`expose`: the metrics for a header `Accept`, and their content type. `now` gives the instant (ms, UTC)."""

    def metrics(request: Request) -> Response:
        given = request.authorization
        token = given.token if given is not None and given.type == 'bearer' else None
        try:
            identity = tokens.identify(token, now())
        except InvalidInput as error:
            raise Unauthorized(str(error), www_authenticate=WWWAuthenticate('bearer')) from error
        if MANAGE not in identity.scopes:
            raise Forbidden
        text, content_type = expose(request.headers.get('Accept', ''))
        return Response(text, content_type=content_type)

    return [Rule('/metrics', methods=['GET'], endpoint=metrics)]
