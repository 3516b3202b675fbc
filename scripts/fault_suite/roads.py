"""Roads: each client's own TCP proxy to the servers. It can be cut, within a batch too, blocked, or led elsewhere."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

HOST = '127.0.0.1'
CHUNK = 65_536
CONNECT_WITHIN = 5


class Road:
    """Takes connections on a port of its own to one of the servers' ports; to another one while that refuses."""

    def __init__(self, ports: Sequence[int], at: int) -> None:
        """It leads to the server number `at` at first."""
        self._ports = ports
        self._at = at
        self._links: set[_Link] = set()
        self._blocked = False
        self._moving = threading.Event()
        self._moving.set()
        self._listener = socket.create_server((HOST, 0), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f'http://{HOST}:{self._listener.getsockname()[1]}'

    def cut(self, after: int = 0) -> None:
        """Ends each connection when it has passed `after` more bytes to the client."""
        for link in list(self._links):
            link.cut(after)

    def move(self) -> None:
        """Leads to the next server from now on, and cuts what leads to this one."""
        self._at = (self._at + 1) % len(self._ports)
        self.cut()

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Nobody gets through."""
        self._blocked = True
        self.cut()
        try:
            yield
        finally:
            self._blocked = False

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing moves; what comes meanwhile is passed afterwards."""
        self._moving.clear()
        try:
            yield
        finally:
            self._moving.set()

    def close(self) -> None:
        """Ends everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._lead, args=(client,), daemon=True).start()

    def _lead(self, client: socket.socket) -> None:
        self._moving.wait()
        for port in () if self._blocked else (*self._ports[self._at :], *self._ports[: self._at]):
            try:
                server = socket.create_connection((HOST, port), timeout=CONNECT_WITHIN)
            except OSError:
                continue
            server.settimeout(None)
            link = _Link(client, server, self._moving)
            self._links.add(link)
            link.run()
            self._links.discard(link)
            return
        client.close()


class _Link:
    """A client's connection through the road."""

    def __init__(self, client: socket.socket, server: socket.socket, moving: threading.Event) -> None:
        self._client = client
        self._server = server
        self._moving = moving
        self._left: int | None = None

    def run(self) -> None:
        """Passes bytes both ways until either end is gone."""
        up = threading.Thread(target=self._pass_up, daemon=True)
        up.start()
        self._pass_down()
        up.join()
        self._client.close()
        self._server.close()

    def cut(self, after: int) -> None:
        self._left = after
        if after == 0:
            self._end()

    def _pass_up(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(CHUNK):
                self._moving.wait()
                self._server.sendall(data)
        self._end()

    def _pass_down(self) -> None:
        with suppress(OSError):
            while self._left != 0 and (data := self._server.recv(CHUNK)):
                self._moving.wait()
                left = self._left  # asked once, as `cut` may set it at any time
                self._client.sendall(data[:left])
                if left is not None:
                    self._left = max(0, left - len(data))
        self._end()

    def _end(self) -> None:
        for one in (self._client, self._server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
