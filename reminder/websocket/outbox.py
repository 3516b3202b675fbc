"""A client's socket after pywsgi has let go of it: one outbox, which alone knows whether the socket is idle, keeps all
that is written in order, and two watchers of the hub's loop serve it.

So a client that waits costs neither a greenlet nor a buffer, whether it speaks WebSocket or listens to an event stream;
nor a deque, which takes 0.7 KiB when it is empty.
"""

import errno
import fcntl
import socket
import sys
import termios
from typing import Any, ClassVar, Protocol

import gevent

MAX_OUTBOX = 262_144
"""Bytes that a client has not taken, above which nothing more is read from it or handled."""
MAX_UNREAD = 33_554_432
"""Bytes that all clients together have not taken, above which none gets more than `FEW` of them ahead."""
FEW = 4_096
"""Bytes that a client has not taken, above which it is so with it where all together have too many."""
SMALL = 4_096
"""Bytes up to which something is written together with what else is."""
RECEIVE = 16_384
LINGER = 2.0
"""Seconds that a closed connection waits for the client's end, so that what was written is read before a reset."""
MAX_LINGERING = 1_000
"""Closed connections that wait so at a time, as they are in nobody's share any more; what is beyond ends at once."""


class Owner(Protocol):
    """Who is told what happens on a connection. Called in the hub: must not block."""

    def stuck(self) -> None:
        """The socket takes no more for now: what was written waits."""

    def drained(self) -> None:
        """All that was written has been taken; only after something had to wait."""

    def lost(self) -> None:
        """The connection has ended, by the client or by an error."""


class Nobody:
    """The owner of a connection that has ended, of which nobody is told anything any more. Owners keep theirs, and each
    would be kept by the other until the garbage collector comes."""

    def received(self, packet: str) -> None:
        """Too late."""

    def stuck(self) -> None:
        """It only waits for its end."""

    def drained(self) -> None:
        """There is no more to come."""

    def lost(self) -> None:
        """It was about to be."""


NOBODY = Nobody()


class Outbox:
    """A client's socket. What comes is thrown away: a connection that has something to say is a subclass."""

    __slots__ = (
        '_closing',
        '_gathered',
        '_lingers',
        '_outbox',
        '_reading',
        '_sock',
        '_writing',
        '_written',
        'owner',
        'waiting',
    )

    lingering: ClassVar[int] = 0
    """How many closed connections wait for their clients' ends."""
    unread: ClassVar[int] = 0
    """Bytes that clients have not taken yet, of all together."""

    def __init__(self, sock: Any, owner: Owner) -> None:
        self._sock = sock
        self._outbox: list[bytes | memoryview] = []  # MAX_OUTBOX, and what is written at once beyond
        self._gathered: list[bytes] | None = None  # of a turn of the hub: SMALL bytes of each command that may run
        self._reading = gevent.get_hub().loop.io(sock.fileno(), 1)
        self._writing: Any = None
        self._closing = self._lingers = False
        self.owner = owner
        self.waiting = 0
        """Bytes that the socket has not taken yet."""
        self._written = 0

    def start(self, buffered: bytes = b'', opening: bytes = b'') -> None:
        """Writes the bytes `opening`, and begins to read, with what the HTTP layer had read already."""
        if opening:
            self.send(opening)
        if self._closing:
            return  # lost by that
        self._reading.start(self._readable)
        if buffered:
            self._take(buffered)

    @property
    def idle(self) -> bool:
        return not self._outbox and not self._closing

    def taken(self) -> int:
        """How many bytes the client's system has taken in all. That a socket takes more is no measure: the kernel says
        so only when a third of a buffer of megabytes is free, which a slow client takes a minute for."""
        return self._written - self._in_kernel()

    def backlog(self) -> int:
        """How many bytes the client's system has yet to take."""
        return self.waiting + self._in_kernel()

    def send(self, data: bytes) -> None:
        """Writes bytes, which go out at once or behind what waits."""
        if not self._closing:
            self._push(data)

    def post(self, data: bytes) -> None:
        """Writes bytes as `send` does, but a few of them together with what else is posted before the hub's next turn:
        where many commands of a client are done at once, a system call for each answer would cost as much as they."""
        if self._outbox or len(data) > SMALL:
            self.send(data)
        elif not self._closing:
            if self._gathered is None:
                self._gathered = []
                gevent.get_hub().loop.run_callback(self._write_gathered)
            self._gathered.append(data)

    def end(self, farewell: bytes = b'') -> None:
        """Writes `farewell` behind what waits, and then ends. The owner is not told."""
        if self._closing:
            return
        self._closing = True
        self.owner = NOBODY
        if farewell or self._gathered:
            self._push(farewell)
        if self._sock is None:
            return
        if not self._reading.active:
            self._reading.start(self._readable)
        if not self._outbox:
            self._shutdown()
        if Outbox.lingering < MAX_LINGERING:
            Outbox.lingering += 1
            self._lingers = True
            gevent.spawn_later(LINGER, self.abort)
        else:
            self.abort()

    def abort(self) -> None:
        """Ends at once. The owner is not told."""
        if self._lingers:
            self._lingers = False
            Outbox.lingering -= 1
        self._closing = True
        self.owner = NOBODY
        self._gathered = None
        self._outbox.clear()
        self._count(-self.waiting)
        if self._sock is None:
            return
        # The watchers go first: libev ends the process over a watcher whose descriptor is closed.
        for watcher in (self._reading, self._writing):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._sock.close()
        self._sock = None

    def _take(self, data: bytes) -> None:
        """What to do with what has come."""

    def _emptied(self) -> None:
        """What to do when nothing waits any more."""
        self.owner.drained()

    def _in_kernel(self) -> int:
        if self._sock is None:
            return 0
        return int.from_bytes(fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def _write_gathered(self) -> None:
        if self._gathered is not None:
            self._push(b'')

    def _push(self, data: bytes) -> None:
        """Writes bytes behind all that was written before."""
        if self._gathered is not None:
            data, self._gathered = b''.join([*self._gathered, data]), None
        if self._outbox:
            self._outbox.append(data)
            self._count(len(data))
            return
        sent = self._try_send(data)
        if sent < 0 or sent == len(data):
            return
        self._outbox.append(memoryview(data)[sent:])
        self._count(len(data) - sent)
        if self._writing is None:
            self._writing = gevent.get_hub().loop.io(self._sock.fileno(), 2)
        self._writing.start(self._writable)
        self.owner.stuck()

    def _count(self, waiting: int) -> None:
        self.waiting += waiting
        Outbox.unread += waiting

    def _try_send(self, data: bytes | memoryview) -> int:
        """How many bytes the socket took; -1 when it is lost."""
        try:
            sent: int = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._lost()
            return -1
        self._written += sent
        return sent

    def _writable(self) -> None:
        while self._outbox:
            sent = self._try_send(self._outbox[0])
            if sent < 0:
                return
            self._count(-sent)
            if sent < len(self._outbox[0]):
                self._outbox[0] = memoryview(self._outbox[0])[sent:]
                return
            self._outbox.pop(0)
        self._writing.stop()
        if self._closing:
            self._shutdown()
        else:
            self._emptied()

    def _readable(self) -> None:
        try:
            data = self._sock.recv(RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b''
        if not data:
            self._lost()
        elif not self._closing:
            self._take(data)

    def _lost(self) -> None:
        owner = self.owner
        self.abort()
        owner.lost()

    def _shutdown(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise


def is_full(waiting: int) -> bool:
    """Whether a client that has yet to take so many bytes gets no more before it has."""
    return waiting > FEW and (waiting > MAX_OUTBOX or Outbox.unread > MAX_UNREAD)


def most_waiting(clients: int) -> int:
    """Bytes that may wait for so many clients together."""
    return min(clients * MAX_OUTBOX, MAX_UNREAD + clients * FEW)
