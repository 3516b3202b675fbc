"""A client of the model: a JavaScript one, which gives back the last cursor that it got, or one that keeps none.

It looks at what it gets as it gets it: in the log's order, and nothing twice where no connection broke in between.
"""

from collections import deque
from typing import TYPE_CHECKING

from reminder.models.event import Place
from reminder.services.delivery import Reader
from reminder.services.offsets import parse_offset

if TYPE_CHECKING:
    from tests.model.servers import Server
    from tests.model.world import World


class Violation(AssertionError):
    """What was promised was not kept."""


class Connection(Reader):
    """A connection of a client: what the server has not got rid of yet, and what is on its way."""

    def __init__(self, client: 'Client', server: 'Server', offset: str | None) -> None:
        super().__init__()
        self.client = client
        self.server = server
        self.resumed = parse_offset(offset)
        self.is_open = True
        self.is_clogged = False
        self.recovered = False
        """Whether the client's own `pid` came back."""
        self.log: str | None = None
        """The log of the first cursor that the client got by it, and the place of that."""
        self.start: Place | None = None
        self.read_to: Place | None = None
        """The place of the last cursor or reminder that the client got by it."""
        self.got: list[Place] = []
        self.replayed: tuple[int, bool] | None = None
        self._outbox: tuple[bytes, ...] = ()
        self._flight: deque[bytes] = deque()

    # -- the server's side --------------------------------------------------------------------------------------

    def accept(self, pid: str) -> None:
        """Answers CONNECT."""
        self._flight.append(f'connected {pid}'.encode())

    @property
    def idle(self) -> bool:
        return self.is_open and not self._outbox

    def write(self, chunk: tuple[bytes, ...]) -> None:
        if not self.is_open:
            raise Violation('written to after its end')
        if self._outbox and any(packet.startswith(b'reminder') for packet in chunk):
            raise Violation('more waits in memory than one chunk')
        self.server.world.check_time(self.server, chunk)
        if self.is_clogged or self._outbox:
            self._outbox += chunk
        else:
            self._flight.extend(chunk)

    # -- the network's ------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many packets are on their way."""
        return len(self._outbox) + len(self._flight)

    def take(self, count: int) -> None:
        """The client gets up to `count` of the packets that are on their way."""
        for _ in range(min(count, self.waiting)):
            if not self._flight:
                self._unclog()
            self.client.receive(self, self._flight.popleft().decode())
        if self._outbox and not self._flight:
            self._unclog()

    def _unclog(self) -> None:
        self._flight.extend(self._outbox)
        self._outbox = ()
        self.server.delivery.ready(self)

    def cut(self) -> None:
        """The connection breaks; what was on its way is lost."""
        if self.is_open:
            self.is_open = False
            self.server.delivery.leave(self)
            self.client.lost(self)


class Client:
    """Somebody who wants to be reminded, of everything since the first cursor that it got."""

    def __init__(self, world: 'World', keeps_offset: bool) -> None:
        self.world = world
        self.keeps_offset = keeps_offset
        self.connection: Connection | None = None
        self.connections: list[Connection] = []
        self.pid: str | None = None
        self.offset: str | None = None
        self.seen: set[str] = set()
        self.excused: list[tuple[Place, Place]] = []
        """Spans of the log of which it was told that it does not get them."""
        self._uncertain: set[str] = set()
        """What it got since the last cursor, which comes again if it resumes."""
        self._repeatable: set[str] = set()

    def connect(self, server: 'Server', clogged: bool) -> None:
        """Connects, with what it remembers."""
        offset = self.offset if self.keeps_offset else None
        self.connection = connection = Connection(self, server, offset)
        connection.is_clogged = clogged
        self.connections.append(connection)
        server.schedule.spawn(server, server.connect, connection, {'pid': self.pid, 'offset': offset})

    def lost(self, connection: Connection) -> None:
        """Its connection broke."""
        self.connection = None
        self._repeatable |= self._uncertain

    def receive(self, connection: Connection, packet: str) -> None:
        """Gets a packet."""
        kind, *words = packet.split()
        if kind == 'connected':
            connection.recovered, self.pid = words[0] == self.pid, words[0]
        elif kind == 'cursor':
            self._cursor(connection, words[0])
        elif connection.start is None:
            raise Violation('something came before the first cursor')
        elif kind == 'reminder':
            self._remind(connection, words[0])
        else:
            self._replayed(connection, int(words[0]), words[1] == 'True')

    def _cursor(self, connection: Connection, offset: str) -> None:
        since = parse_offset(offset)
        assert since is not None
        if connection.start is None:
            connection.log, connection.start = since.log, since.place
            self.world.check_start(connection)
        elif connection.read_to is not None and since.place < connection.read_to:
            self.world.went_back(connection)
        connection.read_to = since.place
        self.offset = offset
        self._uncertain.clear()
        self._repeatable = {id for id in self._repeatable if self.world.place(id) > since.place}

    def _remind(self, connection: Connection, id: str) -> None:
        place = self.world.place(id)
        assert connection.read_to is not None
        if place <= connection.read_to:
            self.world.went_back(connection)
        if self.keeps_offset and id in self.seen and id not in self._repeatable:
            self.world.came_twice(connection, id)
        self._repeatable.discard(id)
        self.seen.add(id)
        self._uncertain.add(id)
        connection.got.append(place)
        connection.read_to = place

    def _replayed(self, connection: Connection, count: int, complete: bool) -> None:
        if connection.resumed is None or connection.replayed is not None:
            raise Violation('told of a replay that is none')
        connection.replayed = count, complete
        self.world.check_replayed(connection)
