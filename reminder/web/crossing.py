"""Endpoints that pages of other origins may use: of those origins that are let in."""

from typing import Any

from werkzeug import Request, Response
from werkzeug.exceptions import Forbidden

from reminder.services.origins import Origins
from reminder.web import Endpoint


def crossing(endpoint: Endpoint, origins: Origins, methods: str) -> Endpoint:
    """The endpoint, for requests by `methods`, and for OPTIONS, by which browsers ask before they send some of them.

    What comes from pages of other origins is refused. That these could not read the answer is not enough: a command
    would have been run by then, or a stream be open.
    """

    def answer(request: Request, **found: Any) -> Response:
        if not origins.allow(request.environ):
            raise Forbidden
        response = Response(status=204) if request.method == 'OPTIONS' else endpoint(request, **found)
        response.headers.extend(origins.headers(request.environ, methods))
        return response

    return answer
