"""What is pending as a calendar that others subscribe to: `GET /calendar.ics`.

It holds what `listEvents` and `listSeries` would answer to the same token: without `channel` all that it may see, with
one or more, those beside what has none. Programs that show calendars cannot send a header, so here, and at no other
door, the token may be in the query; it needs the scope `listen`.

To make a large calendar takes seconds. So one is made at a time, with others having their turn all the while, and it is
kept for `KEPT` times as long as that took: who asks meanwhile for the same channels gets the same. Nothing in its text
says when it was made, so the ETag, which is the text's, stays as long as nothing has changed.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from icalendar import vText
from werkzeug import Request, Response
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.routing import Rule

from reminder.calendar import writer
from reminder.calendar.source import Source
from reminder.errors import Busy, StoreUnavailable
from reminder.models.store import Channels, Store
from reminder.services.gate import Gate
from reminder.services.identity import LISTEN
from reminder.services.tokens import Tokens
from reminder.web.authorization import allowed_channels, authorized, bearer

Environ = Mapping[str, Any]

PATH = '/calendar.ics'
ENTRIES, SERIES, LOOKED_AT, TEXT = 10_000, 1_000, 100_000, 4 * 1024 * 1024
"""How much there is in a calendar at most: entries, and series among them; how many are looked at, as there may be few
for some channels; and characters."""
PORTION = 10
"""Entries between two turns of others: some ms."""
WAITING = 16
"""Calendars that may be waited for."""
KEPT, CALENDARS = 20, 8
"""For how many times as long as it takes to make a calendar it is kept, and how many are."""
LATER = 5
"""Seconds after which to ask again where there is none now."""
REFRESH = 'PT1H'
"""How often others are to ask, as far as they let themselves be told; most of them ask when they want."""


class _Made(NamedTuple):
    body: bytes
    until: float
    """When (monotonic) it is to be made anew."""


class Feed:
    """The calendars of one server."""

    def __init__(self, store: Store, pause: Callable[[], None], rest: Callable[[float], None]) -> None:
        """`pause` gives others a turn, `rest` waits for some seconds."""
        self._store = store
        self._pause = pause
        self._gate = Gate(1, WAITING, 1, rest)
        self._made: OrderedDict[Channels, _Made] = OrderedDict()

    def calendar(self, channels: Channels) -> bytes:
        """What is pending in these channels. Raises Busy where too many wait, and StoreUnavailable."""
        return self._kept(channels) or self._make_in_turn(channels)

    def _kept(self, channels: Channels) -> bytes | None:
        made = self._made.get(channels)
        return made.body if made is not None and time.monotonic() < made.until else None

    def _make_in_turn(self, channels: Channels) -> bytes:
        with self._gate.pass_through():
            kept = self._kept(channels)  # others may have asked for it before
            if kept is not None:
                return kept
            begun = time.monotonic()
            body = self._make(channels)
            end = time.monotonic()
            self._made[channels] = _Made(body, end + KEPT * (end - begun))
            self._made.move_to_end(channels)
            while len(self._made) > CALENDARS:
                self._made.popitem(last=False)
            return body

    def _make(self, channels: Channels) -> bytes:
        source = Source(self._store, channels=channels)
        parts: list[str] = []
        size, is_whole = 0, True
        # The stamp says when an entry was changed last, which is not known; and always the same, it changes no text.
        components = writer.components(source, self._store.record().opened, SERIES, self._pause)
        for number, part in enumerate(components):
            if number % PORTION == 0:
                self._pause()
            if number == LOOKED_AT or len(parts) == ENTRIES or size + len(part.text) > TEXT:
                is_whole = False
                break
            if part.text:
                parts.append(part.text)
                size += len(part.text)
        return ''.join((writer.begin(_properties(channels, len(parts), is_whole)), *parts, writer.END)).encode()


def routes(
    feed: Feed, tokens: Tokens, now: Callable[[], int], asking: Callable[[Environ], AbstractContextManager[None]]
) -> list[Rule]:
    """The route of the feed. `now` gives the instant (ms, UTC). `asking` raises Busy where those that ask from the
    address of a request have their share of the places, so that others get one."""

    def calendar(request: Request) -> Response:
        identity = authorized(tokens, bearer(request) or request.args.get('token'), now(), LISTEN)
        wanted = allowed_channels(request, 'channel', identity)
        try:
            with asking(request.environ):
                body = feed.calendar(wanted or identity.channels)
        except (Busy, StoreUnavailable) as error:
            raise ServiceUnavailable(str(error), retry_after=LATER) from error
        response = Response(body, content_type='text/calendar; charset=utf-8')
        response.headers['Content-Disposition'] = 'inline; filename="reminders.ics"'
        response.cache_control.private = True
        response.cache_control.no_cache = True
        response.add_etag()
        return response.make_conditional(request)

    return [Rule(PATH, methods=['GET'], endpoint=calendar)]


def _properties(channels: Channels, entries: int, is_whole: bool) -> dict[str, vText]:
    """What a calendar says of itself; twice, as some read only what RFC 7986 has made of it, and some only before."""
    name = vText(f'Reminders: {", ".join(sorted(channels))}' if channels else 'Reminders')
    properties = {
        'METHOD': vText('PUBLISH'),
        'NAME': name,
        'X-WR-CALNAME': name,
        'REFRESH-INTERVAL': vText(REFRESH, params={'VALUE': 'DURATION'}),
        'X-PUBLISHED-TTL': vText(REFRESH),
    }
    if not is_whole:
        cut = vText(f'There is more: these are the series and what comes next, {entries} entries.')
        properties |= {'DESCRIPTION': cut, 'X-WR-CALDESC': cut}
    return properties
