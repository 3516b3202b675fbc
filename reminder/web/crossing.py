"""Endpoints that pages of other origins may use: of those origins that are let in."""

from typing import Any

from werkzeug import Request, Response
from werkzeug.exceptions import Forbidden, HTTPException

from reminder.services.origins import Origins
from reminder.web import Endpoint, refused

EXPOSED = 'Retry-After, X-Request-Id'
"""Headers that these pages may read, beside those that they always may."""


def crossing(endpoint: Endpoint, origins: Origins, methods: str) -> Endpoint:
    """The endpoint, for requests by `methods`, and for OPTIONS, by which browsers ask before they send some of them.

    What comes from pages of other origins is refused. That these could not read the answer is not enough: a command
    would have been run by then, or a stream be open.
    """

    def answer(request: Request, **found: Any) -> Response:
        if not origins.allow(request.environ):
            raise Forbidden
        try:
            response = Response(status=204) if request.method == 'OPTIONS' else endpoint(request, **found)
        except HTTPException as refusal:  # which the page may read, too
            response = refused(refusal, request.environ)
        response.headers.extend(origins.headers(request.environ, methods))
        if 'Access-Control-Allow-Origin' in response.headers:
            response.headers['Access-Control-Expose-Headers'] = EXPOSED
        return response

    return answer
