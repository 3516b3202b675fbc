"""The Socket.IO Admin UI (https://socket.io/docs/v4/admin-ui/), by python-socketio's own `instrument()`.

It connects to the namespace `/admin`, which is there only on a server that has been instrumented, and is told every two
seconds how many clients there are, by transport, and how many came and went. It is always told so in the mode
`production`, and read-only. `development` would give whoever watches the data of each event, and a message for each
event of each client; and what can be done where it is not read-only (to emit, to join rooms, to disconnect for good) is
nothing that clients of this server expect. While nobody watches, a count of the sessions every two seconds is all it
costs; packets and bytes it never tells, as this server has readers and writers of its own.
"""

import hmac
import logging
from collections.abc import Callable
from typing import Any

import bcrypt
import gevent
import socketio
from socketio.exceptions import ConnectionRefusedError

from reminder.errors import InvalidInput
from reminder.services.gate import Gate

logger = logging.getLogger(__name__)

WAITING = 3
"""Logins that may wait for another one."""
HASHED = 72
"""Bytes of a password that bcrypt looks at; the UI's own library leaves the others out, too."""


def instrument(server: socketio.Server, username: str, password_hash: str, server_id: str) -> None:
    """Lets the Admin UI in by that name and the password of that bcrypt hash. `server_id` tells servers apart in it."""
    server.instrument(
        auth=Login(username, password_hash, gevent.get_hub().threadpool.apply, gevent.sleep),
        mode='production',
        read_only=True,
        server_id=server_id,
    )


class Login:
    """Decides who is let in, one at a time: to verify a password takes up to a second of a processor, by intention."""

    def __init__(
        self,
        username: str,
        password_hash: str,
        in_thread: Callable[..., Any],
        rest: Callable[[float], None],
    ) -> None:
        """`in_thread` calls a function with a tuple of arguments where it keeps nobody waiting; `rest` waits for some
        seconds."""
        self._username = username.encode()
        self._hash = password_hash.encode()
        self._in_thread = in_thread
        self._gate = Gate(1, WAITING, 1, rest)

    def __call__(self, auth: object) -> bool:
        """Whether `auth`, any JSON value, is `{username, password}` as they should be. Raises the library's
        ConnectionRefusedError where too many ask."""
        username, password = (auth.get(name) for name in ('username', 'password')) if isinstance(auth, dict) else (0, 0)
        if not isinstance(username, str) or not isinstance(password, str):
            return False
        guess = password.encode(errors='replace')[:HASHED]
        try:
            with self._gate.pass_through():
                fits: bool = self._in_thread(bcrypt.checkpw, (guess, self._hash))
        except InvalidInput as error:
            raise ConnectionRefusedError(str(error)) from None
        # Not before, or it would take less time to find out that there is no such name.
        is_let_in = hmac.compare_digest(username.encode(errors='replace'), self._username) and fits
        answer = 'taken' if is_let_in else 'refused'
        logger.info('a login to the admin UI is %(answer)s', {'event': 'admin_login', 'answer': answer})
        return is_let_in
