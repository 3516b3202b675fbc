"""Reminders as Server-Sent Events (WHATWG HTML, section 9.2), for `EventSource`, `curl -N` and the like.

`GET /api/reminders/stream` is one more connection that reads the log on from its own place. Each reminder is an event
`eventReminder`, whose data is the reminder as JSON and whose id is the offset of who has got it. Clients keep the last
id and give it back as `Last-Event-ID`, so that whatever breaks, and whichever server they come back to, they go on
where they were. In the beginning and after each batch comes an event `cursor` with such an id and nothing new, after a
replay an event `replayed`, `{count, complete}`, and in silence a comment now and then, for proxies that would close it.

What follows from how `EventSource` is defined: it comes back by itself when a stream ends or no server answers, and
never again after an answer other than 200. So a server that stops ends its streams only when it does not listen any
more; and where a stream cannot be had *now* (the log is not open yet, the server is full or stops), one who asks by
`Accept: text/event-stream`, as `EventSource` has to, gets a stream that says when to come back, and ends. All others
are told the truth, which is 503. What will not be better the next time (a wrong token, parameters that are none) is
refused to everybody. A token that expires ends the stream: an `EventSource` comes back, is refused for good, and its
page has to make a new one.
"""

import random
from collections.abc import Callable
from typing import Any, Protocol

from werkzeug import Request, Response
from werkzeug.exceptions import BadRequest, ServiceUnavailable
from werkzeug.routing import Rule

from reminder.errors import InvalidInput, StoreUnavailable
from reminder.services.identity import LISTEN
from reminder.services.log import Log, Start
from reminder.services.offsets import Since, parse_offset, parse_since
from reminder.services.origins import Origins
from reminder.services.tokens import Tokens
from reminder.web.authorization import allowed_channels, authorized, bearer
from reminder.web.crossing import crossing

PATH = '/api/reminders/stream'
EVENT_STREAM = 'text/event-stream'
HEADERS = {'Connection': 'close', 'X-Accel-Buffering': 'no'}
"""Of streams; the latter has nginx pass on what comes as it comes."""
SOON = 1_000
"""ms after which a client comes back when its stream has ended; up to three times as much, as those of a server that
stops would else all come at once."""
LATER = 5_000
"""The same, where there was no stream to be had."""


class Streams(Protocol):
    """Who serves streams."""

    def has_room(self, environ: dict[str, Any]) -> bool:
        """Whether the client of that request may have a stream now."""

    def open(self, environ: dict[str, Any], start: Start, channels: frozenset[str], expires: int | None) -> None:
        """Has the connection of that request go on as a stream behind its answer, until `expires` (ms, UTC)."""


def routes(log: Log, tokens: Tokens, streams: Streams, origins: Origins, now: Callable[[], int]) -> list[Rule]:
    """The route of the stream. `now` gives the instant (ms, UTC)."""

    def stream(request: Request) -> Response:
        identity = authorized(tokens, bearer(request), now(), LISTEN)
        channels = allowed_channels(request, 'channels', identity)
        try:
            since = _since(request)
        except InvalidInput as error:
            raise BadRequest(str(error)) from error
        if not streams.has_room(request.environ):
            return _not_now(request, 'server is full, or stops')
        if log.record is None:
            return _not_now(request, 'the log is not open yet')
        try:
            start = log.begin(now(), channels) if since is None else log.resume(since, channels, identity.channels)
        except StoreUnavailable as error:
            return _not_now(request, str(error))
        if request.method == 'GET':
            streams.open(request.environ, start, channels, identity.expires)
        return Response(iter([_come_back(SOON)]), 200, HEADERS, content_type=EVENT_STREAM)

    return [Rule(PATH, methods=['GET', 'OPTIONS'], endpoint=crossing(stream, origins, 'GET'))]


def _since(request: Request) -> Since | None:
    """Where the client left off; None where it knows no place. A malformed Last-Event-ID, which nobody wrote by hand,
    counts as none. Raises InvalidInput for a malformed `since`."""
    last, since = parse_offset(request.headers.get('Last-Event-ID')), request.args.get('since')
    return parse_since(since) if last is None and since is not None else last


def _not_now(request: Request, why: str) -> Response:
    if EVENT_STREAM in request.accept_mimetypes.values():
        return Response(_come_back(LATER), 200, HEADERS, content_type=EVENT_STREAM)
    raise ServiceUnavailable(why, retry_after=LATER // 1000)


def _come_back(after: int) -> bytes:
    return b'retry: %d\n\n' % random.randrange(after, 3 * after)
