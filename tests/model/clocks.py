"""A world in which the machine's clock is set wrong, forward or back, and right again: what is closed is reopened.

What a wrong clock did cannot be undone. Excused are therefore events that the reopening marked as delivered, reminders
that come again because they came before their time, and what a connection was told when its log was reopened under it.
"""

from reminder.models.event import MINUTE, Event, Place
from tests.model.actions import ACTIONS
from tests.model.clients import Client, Connection, Violation
from tests.model.servers import Server
from tests.model.world import World

HOUR = 60 * MINUTE
STEPS = (HOUR, HOUR, 5 * MINUTE, 90_000, 45_000, -45_000, -HOUR)
TOLERANCE = 2_000


class ClockWorld(World):
    """A world whose clock is set once, by up to an hour, and once more, back to what is right."""

    def __init__(self, tape: bytes) -> None:
        self._off = 0
        self._steps = 2
        self._untimely: set[str] = set()
        super().__init__(tape)

    @property
    def wall(self) -> int:
        return self.schedule.now + self._off

    def set_clock(self) -> None:
        """Sets the clock wrong, then right again."""
        if self._steps:
            self._steps -= 1
            self._off = STEPS[self.tape.below(len(STEPS))] if self._steps else 0

    actions = (*ACTIONS, set_clock)

    def check_time(self, server: Server, chunk: tuple[bytes, ...]) -> None:
        assert server.log.record is not None
        is_stale = server.log.record.log != self.database.get_record().log
        for id in (packet.decode().split()[1] for packet in chunk if packet.startswith(b'reminder')):
            self.deliveries += 1
            if is_stale or self.place(id).time > min(self.wall, self.schedule.now) + TOLERANCE:
                self._untimely.add(id)

    def check_start(self, connection: Connection) -> None:
        resumed, start = connection.resumed, connection.start
        assert start is not None
        if resumed is None or resumed.log == connection.log:
            super().check_start(connection)
            return
        assert resumed.log is not None
        if connection.recovered:
            raise Violation('recovered by an offset of another log')
        # It has nothing of the logs that came after its own.
        begin = min(resumed.place, Place.after(self.database.opened[int(resumed.log, 16)]))
        if start > begin:
            connection.client.excused.append((begin, start))
            if len(self.database.opened) == 2 and self.replay_limit > 3:
                raise Violation('what there is of the new log was left out')

    def came_twice(self, connection: Connection, id: str) -> None:
        resumed = connection.resumed
        told = resumed is not None and resumed.log != connection.log
        before, after = self.ledger.acked.get(self.place(id), ('', ''))
        if not told and id not in self._untimely and before == after:
            super().came_twice(connection, id)

    def went_back(self, connection: Connection) -> None:
        if len(self.database.opened) == 1:
            super().went_back(connection)

    def disagreed(self, event: Event) -> None:
        if len(self.database.opened) == 1:
            super().disagreed(event)

    def check_replayed(self, connection: Connection) -> None:
        if len(self.database.opened) == 1 and not self.database.has_skipped:
            super().check_replayed(connection)

    def _check_client(self, client: Client) -> None:
        opened = self.database.opened
        if len(opened) == 1:
            super()._check_client(client)
        elif client.keeps_offset:
            first = next(connection for connection in client.connections if connection.start is not None)
            assert first.log is not None and first.start is not None
            begin = min([first.start, *map(Place.after, opened[int(first.log, 16) :])])
            self._check_span(begin, self._end, {self.place(id) for id in client.seen}, client.excused)

    def _audit(self) -> None:
        if len(self.database.opened) == 1 and not self.database.has_skipped:
            super()._audit()

    def was_lost(self, place: Place) -> None:
        # Skipped by a reopening, though one that may have been broken off; but not if it came after that. What another
        # reopening does, because an order of the wrong time to close a minute came late, is excused too.
        logs, (_, log) = len(self.database.opened), self.ledger.acked[place]
        if logs <= 2 and (not self.database.is_skipped(place.id) or 1 < logs == int(log, 16)):
            super().was_lost(place)
