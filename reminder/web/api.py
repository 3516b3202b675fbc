"""Commands over HTTP: `POST /api/<command>` with the command's data as JSON is answered with the envelope.

The status repeats what the envelope says: 200, or 400 for a failure; 401 and 403 for who may not; 404 where there is no
such command; 429 for who asks too often, and 503 where nothing can be done now, both with the seconds after which it
may be otherwise.

`Idempotency-Key` is `key`. A body has to say that it is JSON: pages of other origins can send what looks like a form
without asking first.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from math import ceil
from typing import Any, NoReturn, Protocol

from werkzeug import Request, Response
from werkzeug.exceptions import (
    BadRequest,
    RequestEntityTooLarge,
    ServiceUnavailable,
    TooManyRequests,
    UnsupportedMediaType,
)
from werkzeug.routing import Rule

from reminder.commands.envelopes import Envelope, Failure, Runs
from reminder.errors import Busy, Changed, NotAllowed, NotAuthenticated, StoreUnavailable, UnknownCommand
from reminder.services.gate import CLIENT
from reminder.services.origins import Origins
from reminder.services.rates import Rates
from reminder.services.tokens import Tokens
from reminder.web.authorization import authorized, bearer, unauthorized
from reminder.web.crossing import crossing

JSON = 'application/json'
LATER = 5
"""Seconds after which to try again what cannot be done now."""
STATUS: dict[type[Exception], int] = {
    NotAllowed: 403,
    UnknownCommand: 404,
    Busy: 429,
    Changed: 429,
    StoreUnavailable: 503,
    Exception: 500,
}
"""What is answered for the kinds of failures; 400 for all others."""


class Host(Protocol):
    """What limits the commands of all doors together."""

    stopping: bool
    """Whether no more commands are taken."""

    def counted_under(self, environ: dict[str, Any]) -> str:
        """Whose commands a request's are counted as."""

    def call(self, function: Callable[[], Envelope], order: float) -> Envelope:
        """Calls a function when it is its turn among the commands of all, of which those of a low `order` are first."""


class Api:
    """The door. It only reads the request, asks the command table, and says the answer."""

    def __init__(
        self,
        commands: Runs,
        tokens: Tokens,
        host: Host,
        rates: Rates,
        max_body: int,
        now: Callable[[], int],
        limits: Counter[str],
    ) -> None:
        """`max_body`: bytes of a request. `now` gives the instant (ms, UTC). In `limits` is counted how often one is
        reached: 'rate' and 'body', as for other clients."""
        self._commands = commands
        self._tokens = tokens
        self._host = host
        self._rates = rates
        self._max_body = max_body
        self._now = now
        self._limits = limits

    def answer(self, request: Request, command: str) -> Response:
        """Runs the command, if who asks is known, and not too often there. Raises HTTPException for what is refused."""
        if self._host.stopping:
            raise ServiceUnavailable('server is stopping', retry_after=LATER)
        client = self._host.counted_under(request.environ)
        wait, order = self._rates.take(client, time.monotonic())
        if wait:
            self._limits['rate'] += 1
            raise TooManyRequests('too many commands in a short time; please try again later', retry_after=ceil(wait))
        identity = authorized(self._tokens, bearer(request), self._now())
        message = {'command': command, 'data': self._data(request)}
        CLIENT.set(client)
        envelope = self._host.call(lambda: self._commands.run(message, identity), order)
        if isinstance(envelope, Failure) and envelope.kind is NotAuthenticated:
            raise unauthorized(envelope['error'])
        status = STATUS.get(envelope.kind, 400) if isinstance(envelope, Failure) else 200
        response = Response(json.dumps(envelope, ensure_ascii=False) + '\n', status, content_type=JSON)
        if status in (429, 503):
            response.retry_after = LATER
        return response

    def _data(self, request: Request) -> dict[str, Any] | None:
        length = request.content_length or 0
        if length > self._max_body:
            self._limits['body'] += 1
            raise RequestEntityTooLarge(f'data of a command has at most {self._max_body} bytes')
        data = None
        if length:
            if request.mimetype != JSON:
                raise UnsupportedMediaType(f'Content-Type has to be {JSON}')
            data = _parse(_read(request, length))
        key = request.headers.get('Idempotency-Key')
        return data if key is None else _with_key(data or {}, key)


def routes(api: Api, origins: Origins) -> list[Rule]:
    """The route of commands, which pages of these origins may take, too."""
    endpoint = crossing(api.answer, origins, 'POST')
    return [Rule('/api/<command>', methods=['POST', 'OPTIONS'], endpoint=endpoint)]


def _read(request: Request, length: int) -> bytes:
    try:
        body: bytes = request.stream.read(length)
    except OSError:  # pywsgi's word for it
        body = b''
    if len(body) < length:
        raise BadRequest('the body breaks off')
    return body


def _parse(body: bytes) -> dict[str, Any]:
    """Raises BadRequest for what is no object."""
    try:
        data = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest('the body is no JSON in UTF-8') from error
    if not isinstance(data, dict):
        raise BadRequest('the body has to be a JSON object')
    return data


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f'{name} is no JSON')


def _with_key(data: dict[str, Any], header: str) -> dict[str, Any]:
    """The data of a command whose `key` is what the header says. Raises BadRequest where it has another one."""
    try:
        key = header.encode('latin-1').decode()
    except UnicodeDecodeError as error:
        raise BadRequest('Idempotency-Key has to be UTF-8') from error
    if data.get('key', key) != key:
        raise BadRequest("'key' and Idempotency-Key are not the same")
    return {**data, 'key': key}
