"""The readers of one server: who gets what, when, and in which order."""

import gevent
import pytest
from gevent.event import Event as Signal

from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE, Place
from reminder.services.delivery import Reader
from reminder.services.offsets import encode_offset
from tests.memory import BASE, event, minute
from tests.services import FIRST, Packets, Recorder, Services, shrink_pages


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_pages(monkeypatch)


@pytest.fixture
def services() -> Services:
    """A server whose log began at BASE, without a recovery window."""
    services = Services(recovery_window=0)
    services.pass_to(BASE)
    return services


def at(place: Place, log: str = FIRST) -> str:
    return encode_offset(log, place)


class Breaking(Recorder):
    """A connection that turns out to be broken when it is written to."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services

    def write(self, chunk: Packets) -> None:
        if self.packets:
            self.services.delivery.leave(self)
        super().write(chunk)


class TestReader:
    def test_leaves_to_its_connection_how_to_write(self) -> None:
        class Silent(Reader):
            idle = True

        for kind in (Reader, Silent):
            with pytest.raises(TypeError, match='write'):
                kind()  # type: ignore[abstract]


class TestLive:
    def test_is_told_its_place_when_it_joins(self, services: Services) -> None:
        reader = services.join()
        assert reader.packets == [f'cursor {at(services.log.end)}']

    def test_gets_a_minute_in_order_and_then_its_place(self, services: Services) -> None:
        # Given a live reader, and two events
        reader = services.join()
        services.add(2, 1, time=minute(1))
        # When the minute is closed / Then nothing is written yet
        services.close(minute(1))
        assert len(reader.packets) == 1
        # When it is published / Then all of it is
        batch = services.delivery.publish()
        assert reader.packets[1:] == [
            f'reminder {1:024x}',
            f'reminder {2:024x}',
            f'cursor {at(event(2, minute(1)).place)}',
            f'cursor {at(Place.after(minute(1)))}',
        ]
        assert (batch.minute, batch.reminders, batch.readers) == (minute(1), 2, 1)

    def test_is_not_bothered_by_an_empty_minute(self, services: Services) -> None:
        reader = services.join()
        services.pass_to(minute(1))
        assert len(reader.packets) == 1

    def test_gets_more_than_was_made_ready(self, services: Services) -> None:
        # Given more events than fit into the pages that are made ready
        reader = services.join()
        services.add(*range(1, 30), time=minute(1))
        # When the minute passes / Then it gets them all
        services.pass_to(minute(1))
        assert reader.reminders == list(range(1, 30))
        assert reader.offset == at(services.log.end)

    def test_gets_what_fell_due_while_the_store_was_away(self, services: Services) -> None:
        # Given a store that is away for two minutes
        reader = services.join()
        for number in range(1, 4):
            services.add(number, time=minute(number))
        for number in (1, 2):
            services.fail('close_minute')
            with pytest.raises(StoreUnavailable):
                services.close(minute(number))
        # When it is back / Then all of it comes in order
        services.pass_to(minute(3))
        assert reader.reminders == [1, 2, 3]

    def test_that_joined_between_closing_and_publishing_gets_the_minute(self, services: Services) -> None:
        services.add(1, time=minute(1))
        services.close(minute(1))
        reader = services.join()
        services.delivery.publish()
        assert reader.reminders == [1]

    def test_that_joins_within_a_batch_begins_behind_it(self, services: Services) -> None:
        # Given a batch in whose midst another client joins
        services.join()
        services.add(1, time=minute(1))
        services.add(2, time=minute(2))
        joined: list[Recorder] = []
        services.pauses.append(lambda: joined.append(services.join()))
        # When the minute and the next one pass
        services.pass_to(minute(1))
        services.pass_to(minute(2))
        # Then it gets the next one only
        assert joined[0].reminders == [2]

    def test_that_leaves_within_a_batch_gets_nothing_more(self, services: Services) -> None:
        # Given two readers, of which the second leaves while the first is written to
        first, second = services.join(), services.join()
        services.pauses.append(lambda: services.delivery.leave(second))
        services.add(1, time=minute(1))
        # When the minute passes / Then only the first is reminded
        services.pass_to(minute(1))
        assert (first.reminders, second.reminders) == ([1], [])
        assert services.delivery.counts == {'clients': 1, 'clientsBehind': 0}

    def test_takes_turns_with_others_within_a_batch(self, services: Services) -> None:
        # Given three readers / When a minute passes / Then others had a turn after each
        for _ in range(3):
            services.join()
        turns: list[int] = []
        services.pauses += [lambda: turns.append(0)] * 9
        services.add(1, time=minute(1))
        services.pass_to(minute(1))
        assert len(turns) == 3

    @pytest.mark.parametrize('count', [1, 4, 5, 13])
    def test_that_breaks_does_not_keep_the_batch_from_others(self, services: Services, count: int) -> None:
        # Given a connection that breaks when it is written to, between two that work
        readers = [Recorder(), Breaking(services), Recorder()]
        for reader in readers:
            services.delivery.join(reader, services.log.begin(services.now))
        services.add(*range(count), time=minute(1))
        # When a minute of one page or several passes / Then the others have all of it
        services.pass_to(minute(1))
        assert [reader.reminders for reader in readers[::2]] == [list(range(count))] * 2
        assert services.delivery.counts['clients'] == 2

    def test_gets_two_minutes_that_were_closed_one_after_the_other(self, services: Services) -> None:
        # Given an empty minute that was closed, and not published
        reader = services.join()
        services.add(2, time=minute(2))
        services.close(minute(1))
        # When the next one is closed and published / Then it gets that
        services.pass_to(minute(2))
        assert reader.reminders == [2]

    def test_gets_no_more_than_what_is_published(self, services: Services) -> None:
        # Given pages that reach into minute 2, which could not be closed to its end; then the clock was set back
        reader = services.join()
        services.add(1, 2, 3, time=minute(1))
        services.add(4, 5, time=minute(2))
        services.meanwhile('read', lambda: services.fail('read'))
        with pytest.raises(StoreUnavailable):
            services.close(minute(2))
        # When minute 1 passes, and then minute 2
        services.now = minute(1)
        services.pass_to(minute(1))
        first = reader.reminders
        services.pass_to(minute(2))
        # Then each came in its time
        assert first == [1, 2, 3]
        assert reader.reminders == [1, 2, 3, 4, 5]


class TestBehind:
    def test_is_not_written_to_while_it_is_not_idle(self, services: Services) -> None:
        # Given a reader whose connection takes nothing
        reader = services.join()
        reader.idle = False
        services.add(1, time=minute(1))
        services.add(2, time=minute(2))
        # When minutes pass / Then nothing queues up
        services.pass_to(minute(1))
        services.pass_to(minute(2))
        assert len(reader.packets) == 1
        assert services.delivery.counts == {'clients': 1, 'clientsBehind': 1}
        # When it is idle again / Then it gets all of it in order, and is live
        reader.idle = True
        services.delivery.ready(reader)
        services.catch_up()
        assert reader.reminders == [1, 2]
        assert services.delivery.counts == {'clients': 1, 'clientsBehind': 0}
        services.add(3, time=minute(3))
        services.pass_to(minute(3))
        assert reader.reminders == [1, 2, 3]

    def test_pauses_where_it_stops_being_idle(self, services: Services) -> None:
        # Given a client with three pages to catch up on
        offset = at(services.log.end)
        services.add(*range(1, 10), time=minute(1))
        services.pass_to(minute(1))
        reader = services.join(offset)
        # When its connection is full after the first page
        services.delivery.step()
        reader.idle = False
        services.catch_up()
        # Then no more is written until it is idle
        assert reader.reminders == [1, 2, 3, 4]
        reader.idle = True
        services.delivery.ready(reader)
        services.catch_up()
        assert reader.reminders == list(range(1, 10))

    def test_that_stops_being_idle_while_its_page_is_read_is_not_written_to(self, services: Services) -> None:
        # Given a page that is being read when the connection fills up
        reader = services.join()
        reader.idle = False
        services.add(*range(12), time=minute(1))
        services.pass_to(minute(1))
        reader.idle = True
        services.delivery.ready(reader)
        services.delivery.step()
        services.delivery.step()
        services.meanwhile('read', lambda: setattr(reader, 'idle', False))
        # When it is its turn / Then nothing is written, and it goes on from there
        services.catch_up()
        assert reader.reminders == list(range(8))
        reader.idle = True
        services.delivery.ready(reader)
        services.catch_up()
        assert reader.reminders == list(range(12))

    def test_that_leaves_while_its_page_is_read_is_forgotten(self, services: Services) -> None:
        # Given a page that is being read when the client leaves
        services.add(*range(12), time=minute(1))
        offset = at(services.log.end)
        services.pass_to(minute(1))
        reader = services.join(offset)
        services.forget_pages()
        services.meanwhile('read', lambda: services.delivery.leave(reader))
        # When it is its turn / Then nothing is written
        services.catch_up()
        assert reader.reminders == []
        assert services.delivery.counts == {'clients': 0, 'clientsBehind': 0}
        services.delivery.ready(reader)
        assert not services.delivery.step()

    def test_takes_turns_with_others(self, services: Services) -> None:
        # Given two clients with two pages to catch up on
        offset = at(services.log.end)
        services.add(*range(8), time=minute(1))
        services.pass_to(minute(1))
        readers = [services.join(offset), services.join(offset)]
        # When there were two turns / Then each has had one
        for _ in range(2):
            services.delivery.step()
        assert [len(reader.reminders) for reader in readers] == [4, 4]

    def test_gets_its_turn_behind_one_that_is_gone_and_one_that_is_not_idle(self, services: Services) -> None:
        # Given three clients that are behind, of which the first leaves, and the second's connection is full
        offset = at(services.log.end)
        services.add(1, time=minute(1))
        services.pass_to(minute(1))
        gone, full, reader = (services.join(offset) for _ in range(3))
        services.delivery.leave(gone)
        full.idle = False
        # When all turns are taken / Then the third has had its own
        services.catch_up()
        assert [one.reminders for one in (gone, full, reader)] == [[], [], [1]]

    def test_waits_again_where_the_store_failed(self, services: Services) -> None:
        # Given a client that is behind, and a store that fails
        offset = at(services.log.end)
        services.add(*range(12), time=minute(1))
        services.pass_to(minute(1))
        reader = services.join(offset)
        services.forget_pages()
        services.fail('read')
        woken = services.woken
        # When it is its turn / Then the failure is told, and it waits again
        assert services.delivery.step() and services.woken > woken
        with pytest.raises(StoreUnavailable):
            services.delivery.read()
        services.catch_up()
        assert reader.reminders == list(range(12))

    def test_does_not_wait_for_one_whose_page_has_to_be_read(self, services: Services) -> None:
        # Given one whose page is not in memory, and a store that does not answer
        offset = at(services.log.end)
        services.add(*range(4), time=minute(1))
        services.pass_to(minute(1))
        services.forget_pages()
        place = at(services.log.end)
        services.add(4, time=minute(2))
        services.pass_to(minute(2))
        unread = services.join(offset)
        assert services.delivery.step()
        answer = Signal()
        services.meanwhile('read', answer.wait)
        reading = gevent.spawn(services.delivery.read)
        gevent.sleep(0)
        # When one comes whose page is / Then it gets that at once
        other = services.join(place)
        while services.delivery.step():
            pass
        assert (other.reminders, unread.reminders) == ([4], [])
        # And the other one gets its own when the store answers
        answer.set()
        assert reading.get()
        services.catch_up()
        assert unread.reminders == list(range(5))

    def test_gets_a_page_that_was_read_for_another(self, services: Services) -> None:
        # Given a herd that is behind, of which nobody's page is in memory
        offset = at(services.log.end)
        services.add(*range(3), time=minute(1))
        services.pass_to(minute(1))
        services.forget_pages()
        reads = services.store.database.reads
        herd = [services.join(offset) for _ in range(50)]
        # When all are served / Then the page was read once
        services.catch_up()
        assert [reader.reminders for reader in herd] == [[0, 1, 2]] * 50
        assert services.store.database.reads == reads + 1

    def test_wakes_who_lets_it_read(self, services: Services) -> None:
        # Given a live reader that is not idle / When a minute passes / Then it is to be looked after
        reader = services.join()
        reader.idle = False
        services.add(1, time=minute(1))
        services.close(minute(1))
        assert services.woken == 0
        services.delivery.publish()
        assert services.woken == 1

    def test_waits_once_however_often_it_is_ready(self, services: Services) -> None:
        # Given a client that is behind / When it is said to be ready again and again / Then it has one turn for a page
        offset = at(services.log.end)
        services.add(*range(3), time=minute(1))
        services.pass_to(minute(1))
        reader = services.join(offset)
        for _ in range(3):
            services.delivery.ready(reader)
        assert [services.delivery.step() for _ in range(2)] == [True, False]
        assert reader.reminders == list(range(3))


class TestFigures:
    def test_say_how_long_a_minute_has_been_waiting(self, services: Services) -> None:
        assert Services().delivery.behind(BASE) == 0
        assert services.delivery.behind(minute(1)) == 0
        assert services.delivery.behind(minute(1) + 5_000) == 5_000
        assert services.delivery.behind(minute(3)) == 2 * MINUTE
