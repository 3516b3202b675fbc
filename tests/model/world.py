"""The world of the model: a database, servers, clients, and a tape that says what happens next."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from reminder.models.event import MINUTE, Event, Place
from reminder.scheduler.handlers.deliver import EARLY
from reminder.services.offsets import encode_offset
from tests.memory import BASE, Database
from tests.model.actions import ACTIONS, Tape
from tests.model.clients import Client, Connection, Violation
from tests.model.ledger import Ledger
from tests.model.schedule import Schedule
from tests.model.servers import Server

END_OF_RUN = 3 * MINUTE
"""How long the world is left in peace at the end, so that all that is due is delivered."""


class World:
    """Everything, and what is always true of it."""

    server_class = Server
    actions: tuple[Callable[[Any], None], ...] = ACTIONS

    def __init__(self, tape: bytes) -> None:
        self.tape = Tape(tape)
        self.schedule = Schedule(BASE + 20_000)
        self.database = Database()
        self.ledger = Ledger()
        self.delivered: dict[str, Event] = {}
        """Of each event, what some server has read of it when its minute was closed."""
        self.deliveries = 0
        """How many reminders were written."""
        self.replay_limit = (10_000, 10_000, 3)[self.tape.below(3)]
        self._skews = [(0, -1_000, 1_000, 300)[self.tape.below(4)] for _ in range(2 + self.tape.below(2))]
        self.servers: list[Server | None] = [None] * len(self._skews)
        self.clients = [Client(self, keeps_offset=number > 0) for number in range(3)]
        for number in range(len(self.servers)):
            self.start(number)

    def run(self) -> 'World':
        """Plays the tape, then lets all go well, then looks for what was lost."""
        with patch('reminder.services.floors.Lock', self.schedule.lock):
            while not self.tape.ended:
                self.actions[self.tape.below(len(self.actions))](self)
            self._settle()
        self._check()
        self._audit()
        return self

    @property
    def wall(self) -> int:
        """What a right clock shows."""
        return self.schedule.now

    @property
    def figures(self) -> dict[str, int]:
        """What happened in this run."""
        return {
            'events acked': len(self.ledger.kept),
            'changes acked': sum(change.logs is not None for change in self.ledger.changes),
            'events refused': len(self.ledger.refused),
            'connections': sum(len(client.connections) for client in self.clients),
            'reminders written': self.deliveries,
        }

    # -- what is done to it -------------------------------------------------------------------------------------

    def start(self, number: int) -> None:
        """Starts the server of that number."""
        self.servers[number] = self.server_class(self, self._skews[number], self.replay_limit)

    def crash(self, number: int) -> None:
        """Ends the server of that number at once. What it has asked the database for may be done, or done later."""
        server, self.servers[number] = self.servers[number], None
        assert server is not None
        self.schedule.kill(server, late=self.tape.below(2) == 1)
        for client in self.clients:
            if client.connection is not None and client.connection.server is server:
                client.connection.cut()

    def any_server(self) -> Server | None:
        """One of the living, if any."""
        living = [server for server in self.servers if server is not None]
        return living[self.tape.below(len(living))] if living else None

    def _settle(self) -> None:
        """Ends all faults and lets everybody get what is theirs."""
        self.schedule.failing = 0
        for number, server in enumerate(self.servers):
            if server is None:
                self.start(number)
        self._rest(END_OF_RUN)

    def _rest(self, duration: int) -> None:
        """Lets that many ms pass in which all goes well."""
        schedule = self.schedule
        end = schedule.now + duration
        for _ in range(20_000):
            for task in schedule.tasks:
                task.held = False
            if schedule.runnable():
                schedule.flow()
            elif any(client.connection and client.connection.waiting for client in self.clients):
                for client in self.clients:
                    if client.connection is not None:
                        client.connection.is_clogged = False
                        client.connection.take(1_000)
            elif schedule.now < end:
                for number, client in enumerate(self.clients):
                    server = self.servers[number % len(self.servers)]
                    if client.connection is None and server is not None:
                        client.connect(server, clogged=False)
                schedule.pass_time()
            else:
                return
        raise Violation('something goes on for ever')

    def _audit(self) -> None:
        """Somebody new, on a server with nothing in memory, gets all that was acked and nothing that was refused."""
        record = self.database.get_record()
        server = self.server_class(self, 0, 10_000)
        self.servers.append(server)
        self._rest(EARLY)
        auditor = Client(self, keeps_offset=True)
        auditor.offset, auditor.pid = encode_offset(record.log, Place.after(record.purged)), 'auditor'
        auditor.connect(server, clogged=False)
        self.clients.append(auditor)
        self._rest(1)
        assert auditor.connection is not None and auditor.connection.server is server
        if auditor.seen & self.ledger.refused:
            raise Violation('refused, and kept')
        for id, delivered in self.delivered.items():
            present = self.ledger.present(id) if id in self.ledger.kept else None
            if present and present[0] != delivered:
                raise Violation(f'{delivered} was acked as {present[0]}')
        self._check_client(auditor)

    # -- what is always true ------------------------------------------------------------------------------------

    def place(self, id: str) -> Place:
        """Where an entry is in the log, kept or not."""
        return self.ledger.places[id]

    def encoded(self, event: Event) -> None:
        """A server is about to deliver an event: all of them deliver the same."""
        self.ledger.places[event.place.id] = event.place
        if self.delivered.setdefault(event.id, event) != event:
            self.disagreed(event)

    def disagreed(self, event: Event) -> None:
        """Two servers have read different things of an event."""
        raise Violation(f'{event} is also {self.delivered[event.id]}')

    def check_start(self, connection: Connection) -> None:
        """A client that says where it left off goes on there; where it does not, that is made known to it."""
        resumed, start = connection.resumed, connection.start
        assert start is not None
        if resumed is None:
            if connection.recovered:
                raise Violation('recovered without an offset')
        elif start < resumed.place:
            raise Violation('resumed before its offset')
        elif start > resumed.place:
            connection.client.excused.append((resumed.place, start))

    def came_twice(self, connection: Connection, id: str) -> None:
        """A client got a reminder again although no connection broke between that and the next cursor."""
        raise Violation(f'{id} came twice')

    def was_lost(self, place: Place) -> None:
        """Somebody did not get an event that was theirs."""
        raise Violation(f'{place} was lost')

    def went_back(self, connection: Connection) -> None:
        """A connection got what lies before what it had got."""
        raise Violation('not in order')

    def check_time(self, server: Server, chunk: tuple[bytes, ...]) -> None:
        """Nobody is reminded before the minute by the server's clock."""
        for packet in chunk:
            kind, word = packet.decode().split()[:2]
            if kind == 'reminder':
                self.deliveries += 1
                if self.place(word).time > server.clock.now():
                    raise Violation('too early')

    def check_replayed(self, connection: Connection) -> None:
        """The count that was told is the count that came, and it is complete where nothing is missing."""
        assert connection.resumed is not None and connection.replayed is not None
        assert connection.start is not None and connection.read_to is not None
        count, complete = connection.replayed
        span = [place for place in self.ledger.places.values() if connection.start < place <= connection.read_to]
        acked = self.ledger.acked
        kept = sum(place in acked for place in span)
        # The others were refused, or kept or changed for nobody knows how long.
        if not kept <= count <= len(span):
            raise Violation(f'{count} replayed, {kept} kept')
        if complete != connection.recovered:
            raise Violation('recovered, but not complete, or the other way round')
        if complete and connection.start != connection.resumed.place:
            raise Violation('a complete replay begins at the offset')
        # Where to begin is looked for before it is read, and what does not stay may have gone in between.
        if not complete and not kept <= self.replay_limit <= len(span):
            raise Violation('cut, but not by the limit')

    def _check(self) -> None:
        """Looks for what was lost."""
        for client in self.clients:
            if client.connection is None or client.connection.start is None:
                raise Violation('not connected at the end')
            self._check_client(client)

    def _check_client(self, client: Client) -> None:
        for connection in client.connections:
            if connection.start is not None and connection.read_to is not None:
                end = self._end if connection.is_open else connection.read_to
                self._check_span(connection.start, end, set(connection.got), [])
        if client.keeps_offset:
            begin = next(connection.start for connection in client.connections if connection.start is not None)
            self._check_span(begin, self._end, {self.place(id) for id in client.seen}, client.excused)

    @property
    def _end(self) -> Place:
        return min(server.log.end for server in self.servers if server is not None)

    def _check_span(self, start: Place, end: Place, got: set[Place], excused: list[tuple[Place, Place]]) -> None:
        for place in self.ledger.acked:
            if start < place <= end and place not in got and not any(a < place <= b for a, b in excused):
                self.was_lost(place)
