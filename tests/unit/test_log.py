"""The log as one server reads it: minutes, pages, where a connection begins, and clocks that were wrong."""

from typing import Any

import gevent
import pytest
from gevent.event import Event as Signal

from reminder.errors import MinuteClosed, StoreUnavailable
from reminder.models.event import MINUTE, Place
from reminder.services import log
from reminder.services.offsets import encode_offset
from tests.memory import BASE, event, minute
from tests.services import FIRST, Services, shrink_pages


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_pages(monkeypatch)


def opened(**settings: Any) -> Services:
    """A server whose log began at BASE."""
    services = Services(**settings)
    services.pass_to(BASE)
    return services


def restarted() -> Services:
    """A server that knows of a past of 8 events only what the store does."""
    before = opened()
    before.add(*range(8), time=minute(1))
    before.pass_to(minute(1))
    after = Services(before.store.database, now=minute(2))
    after.pass_to(minute(2))
    return after


class TestDue:
    def test_is_all_until_the_log_is_open(self) -> None:
        assert Services().log.due(BASE)

    @pytest.mark.parametrize(
        ('now', 'due'),
        [
            (minute(0), False),
            (minute(1) - 201, False),
            (minute(1) - 200, True),
            (minute(1), True),
            (minute(500), True),
            (minute(0) - MINUTE, False),
            (minute(0) - MINUTE - 1, True),
        ],
    )
    def test_is_a_minute_that_is_closed_by_now_and_one_that_is_closed_too_far_ahead(self, now: int, due: bool) -> None:
        assert opened().log.due(now) == due


class TestMinute:
    def test_is_closed_before_it_is_read(self) -> None:
        # Given a client that is about to add an event when the minute is read
        services = opened()
        late: list[type[Exception]] = []

        def add() -> None:
            with pytest.raises(MinuteClosed) as refusal:
                services.store.add(event(1, minute(1)))
            late.append(refusal.type)

        services.meanwhile('read', add)
        # When the minute is closed / Then the event is refused
        services.close(minute(1))
        assert late == [MinuteClosed]

    def test_is_read_by_another_server_too(self) -> None:
        # Given two servers on one database, and an event
        one = opened()
        other = Services(one.store.database)
        other.pass_to(BASE)
        one.add(1, time=minute(1))
        readers = one.join(), other.join()
        # When both pass the minute, one before the other
        one.pass_to(minute(1))
        other.pass_to(minute(1))
        # Then the clients of both are reminded
        assert [reader.reminders for reader in readers] == [[1], [1]]

    def test_whose_reading_fails_is_read_when_it_is_closed_again(self) -> None:
        # Given an event, and a store that fails once it has closed the minute
        services = opened()
        services.add(1, time=minute(1))
        reader = services.join()
        services.fail('read')
        with pytest.raises(StoreUnavailable):
            services.close(minute(1))
        assert services.log.due(minute(1))
        # When a later minute is closed / Then both are delivered
        services.pass_to(minute(2))
        assert reader.reminders == [1]
        assert not services.log.due(minute(2))

    @pytest.mark.parametrize('limit', [1, 34, 68, 10_000])  # a reminder is 33 bytes here
    def test_is_cut_where_its_packets_are_large(self, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
        monkeypatch.setattr(log, 'PAGE_BYTES', limit)
        services = opened()
        live, behind = services.join(), services.join()
        services.add(*range(1, 10), time=minute(1))
        behind.idle = False
        services.pass_to(minute(1))
        behind.idle = True
        services.delivery.ready(behind)
        services.catch_up()
        assert live.reminders == behind.reminders == list(range(1, 10))
        assert live.offset == behind.offset == services.join().offset
        resumed = services.join(since=live.packets[0].split()[1])
        services.catch_up()
        assert resumed.reminders == list(range(1, 10))

    def test_is_made_ready_in_a_few_pages(self) -> None:
        # Given more events than are made ready ahead
        services = opened()
        services.add(*range(1, 12), time=minute(1))
        # When the minute is closed / Then as many pages were read as are to be ready
        services.close(minute(1))
        assert services.store.database.reads == 2
        start, pages = services.log.publish()
        assert [page.reminders(start, services.log.end) for page in pages] == [4, 4]

    def test_does_not_wait_for_those_who_read_the_past(self) -> None:
        # Given a page of the past for which the store takes its time, and another that is to be read after it
        services = restarted()
        services.add(9, time=minute(3))
        answer = Signal()
        services.meanwhile('read', answer.wait)
        replays = [gevent.spawn(services.log.page, Place(BASE, id)) for id in ('', 'f')]
        gevent.sleep(0)
        # When the next minute is closed / Then it is ready while they still wait
        closing = gevent.spawn(services.close, minute(3))
        gevent.sleep(0)
        assert [greenlet.ready() for greenlet in (closing, *replays)] == [True, False, False]
        answer.set()
        gevent.joinall(replays, raise_error=True)

    def test_is_noted_as_delivered(self) -> None:
        # Given a server / When a minute was published and settled / Then the store knows
        services = opened()
        services.pass_to(minute(1))
        assert services.store.record().delivered == minute(1)

    def test_that_another_server_has_noted_stays_noted(self) -> None:
        # Given a server that is ahead / When one that is behind settles / Then nothing is taken back
        ahead = opened()
        behind = Services(ahead.store.database)
        behind.pass_to(BASE)
        ahead.pass_to(minute(1))
        behind.pass_to(minute(0))
        assert ahead.store.record().delivered == minute(1)

    def test_is_not_settled_in_a_log_that_is_not_open(self) -> None:
        # Given a server without a log / When it settles / Then nothing happens
        services = Services()
        services.log.settle()
        assert services.store.database.record is None


class TestPage:
    def test_holds_cursors_between_reminders_and_at_its_end(self) -> None:
        # Given 5 events in one minute
        services = opened()
        services.add(1, 2, 3, 4, 5, time=minute(1))
        services.pass_to(minute(1))
        # When the first page is cut at its full length
        page = services.log.page(Place.after(BASE))
        packets = [packet.decode() for packet in page.cut(page.start, page.end)]
        # Then each cursor says where a reader is that has got what stands before it
        cursors = [encode_offset(FIRST, event(number, minute(1)).place) for number in (2, 4)]
        assert packets == [
            *[f'reminder {number:024x}' for number in (1, 2)],
            f'cursor {cursors[0]}',
            *[f'reminder {number:024x}' for number in (3, 4)],
            f'cursor {cursors[1]}',
        ]

    def test_is_read_once_for_all(self) -> None:
        # Given a minute that was delivered
        services = opened()
        offset = services.join().offset
        services.add(1, 2, time=minute(1))
        services.pass_to(minute(1))
        reads = services.store.database.reads
        # When a herd comes back / Then each is served from memory
        readers = [services.join(offset) for _ in range(50)]
        services.catch_up()
        assert all(reader.reminders == [1, 2] for reader in readers)
        assert services.store.database.reads == reads

    def test_is_read_once_for_those_who_want_it_at_the_same_time(self) -> None:
        # Given a page that is in nobody's memory, and a store that takes its time
        database = opened().store.database
        services = Services(database, now=minute(1))
        services.add(1, time=minute(2))
        services.pass_to(minute(2))
        fresh = Services(database, now=minute(2))
        fresh.pass_to(minute(2))
        fresh.meanwhile('read', lambda: gevent.sleep(0))
        reads = database.reads
        # When two want it
        wanted = [gevent.spawn(fresh.log.page, Place.after(minute(1))) for _ in range(2)]
        # Then one of them reads it for both
        first, second = (greenlet.get() for greenlet in wanted)
        assert first is second
        assert database.reads == reads + 1

    def test_of_different_ones_one_is_read_at_a_time(self) -> None:
        # Given a store that takes its time
        services, reading, most = restarted(), 0, 0
        read = services.store.read

        def read_slowly(*args: Any, **options: Any) -> Any:
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            gevent.sleep(0)
            reading -= 1
            return read(*args, **options)

        services.store.read = read_slowly  # type: ignore[method-assign]
        # When many places of the past are read, each before the last
        places = [event(number, minute(1)).place for number in reversed(range(7))]
        gevent.joinall([gevent.spawn(services.log.page, place) for place in places], raise_error=True)
        # Then it is never asked for two at once, and has its rest in between
        assert most == 1
        assert len(services.rests) >= 1
