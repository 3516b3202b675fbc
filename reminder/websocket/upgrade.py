"""The move of a session from long-polling to a WebSocket: a client probes it, is answered, stops polling, and moves."""

from typing import Any

from reminder.websocket.frames import POLICY
from reminder.websocket.payloads import MAX_MESSAGE
from reminder.websocket.session import Session
from reminder.websocket.transport import Polling, WebSocket

UPGRADE_TIMEOUT = 10.0
"""Seconds between a probe and the packet that ends the upgrade."""


class Probe:
    """A WebSocket that a polling client tries before it moves to it."""

    def __init__(self, session: Session, sock: Any, buffered: bytes, answer: bytes) -> None:
        self._session = session
        self._transport: WebSocket | None = WebSocket(sock, MAX_MESSAGE, self)
        self._answered = False
        for other in list(session.probes):
            other.end()
        session.probes.add(self)
        self._patience = session.server.deadlines.after(UPGRADE_TIMEOUT, self.end)
        self._transport.start(buffered, answer)

    def received(self, packet: str) -> None:
        """Takes the packets of an upgrade: a ping, then the word to move."""
        session, transport = self._session, self._transport
        if transport is None:
            return
        begun = self._answered or session.upgrading or session.upgraded or session.closed
        if packet == '2probe' and not (begun or session.server.stopping):
            self._answered = session.upgrading = True
            transport.write(b'3probe')
            # Ends a GET that waits; the client stops polling once it is answered.
            if isinstance(session.transport, Polling) and session.transport.polled:
                session.transport.write(b'6')
        elif packet == '5' and self._answered and not session.closed:
            self._patience.cancel()
            session.probes.discard(self)
            self._transport = None
            session.upgrade(transport)
        else:
            self.end()

    def stuck(self) -> None:
        """It has little time anyway."""

    def drained(self) -> None:
        """Nothing waits for it."""

    def lost(self) -> None:
        """The client gave the WebSocket up, and goes on polling."""
        self.end()

    def await_move(self) -> None:
        """Keeps the WebSocket, where the server is about to end the session, until the client has moved to it, for
        UPGRADE_TIMEOUT at most.

        The JavaScript client has stopped polling by then and never polls again: a WebSocket that closes before it has
        moved leaves it in silence until it misses a ping.
        """
        session = self._session
        if self._answered:
            session.probes.discard(self)
            session.server.moving.add(self)
            session.server.shares.take(session.address)  # the session is about to give its own back

    def end(self) -> None:
        """Closes the WebSocket, unless the session has moved to it."""
        session, transport, self._transport = self._session, self._transport, None
        if transport is None:
            return
        session.probes.discard(self)
        if self in session.server.moving:
            session.server.moving.remove(self)
            session.server.shares.give_back(session.address)
        self._patience.cancel()
        transport.close(POLICY)
        if self._answered:
            self._answered = session.upgrading = False
            session.drained()
