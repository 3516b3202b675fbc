"""Connections that say where they left off: what they are owed, and what they get."""

from typing import Any

import pytest

from reminder.errors import StoreUnavailable
from reminder.models.event import Place, iso
from reminder.services.log import Replay, Start
from reminder.services.offsets import encode_offset, parse_offset, parse_since
from tests.memory import BASE, event, minute
from tests.services import FIRST, Recorder, Services, shrink_pages


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


def opened(**settings: Any) -> Services:
    """A server whose log began at BASE."""
    services = Services(**settings)
    services.pass_to(BASE)
    return services


def numbers(services: Services, after: Place, until: Place) -> list[int]:
    """The numbers of the events that a reader of the store sees."""
    return [int(place.id, 16) for place in services.store.database.places(after, until)]


class TestResume:
    """8 events, two a minute, from minute 1 to minute 4; the end is behind minute 4 unless stated otherwise."""

    @pytest.fixture
    def services(self) -> Services:
        return self.filled()

    @staticmethod
    def filled(**settings: int) -> Services:
        services = opened(**settings)
        for number in range(8):
            services.add(number, time=minute(1 + number // 2))
        for number in range(1, 5):
            services.pass_to(minute(number))
        return services

    @staticmethod
    def offset(place: Place, log: str = FIRST) -> str:
        return encode_offset(log, place)

    def resume(self, services: Services, since: str) -> Start:
        return services.log.resume(parse_since(since))

    @staticmethod
    def replayed(services: Services, since: str) -> tuple[int, bool]:
        """What somebody who comes back is told in the end."""
        reader = services.join(since)
        services.catch_up()
        (told,) = reader.replayed
        return told

    def test_needs_an_open_log(self) -> None:
        with pytest.raises(StoreUnavailable):
            self.resume(Services(), self.offset(Place(0, '')))

    @pytest.mark.parametrize(
        ('place', 'count'),
        [
            (Place.after(minute(0)), 8),
            (event(0, minute(1)).place, 7),
            (event(1, minute(1)).place, 6),
            (Place.after(minute(1)), 6),
            (event(6, minute(4)).place, 1),
            (event(7, minute(4)).place, 0),
            (Place.after(minute(4)), 0),
        ],
    )
    def test_by_an_offset_goes_on_behind_it(self, services: Services, place: Place, count: int) -> None:
        # When a client resumes / Then it gets just what lies behind its offset
        assert self.resume(services, self.offset(place)) == Start(place, Replay(services.log.end, True))
        assert self.replayed(services, self.offset(place)) == (count, True)

    def test_by_an_id_goes_on_behind_that_event(self, services: Services) -> None:
        place = event(3, minute(2)).place
        assert self.resume(services, place.id) == Start(place, Replay(services.log.end, True))

    def test_by_a_time_counts_that_instant(self, services: Services) -> None:
        place = Place(minute(2), '')
        assert self.resume(services, iso(minute(2))) == Start(place, Replay(services.log.end, True))

    @pytest.mark.parametrize('since', [f'{99:024x}', iso(minute(99))], ids=['an unknown id', 'a time to come'])
    def test_by_what_nobody_knows_goes_on_at_the_end(self, services: Services, since: str) -> None:
        end = services.log.end
        assert self.resume(services, since) == Start(end, Replay(end, False))

    def test_by_an_event_that_is_still_to_come_goes_on_at_the_end(self, services: Services) -> None:
        services.add(9, time=minute(9))
        end = services.log.end
        assert self.resume(services, event(9, 0).id) == Start(end, Replay(end, False))

    def test_beyond_the_end_waits_where_another_server_has_closed_that_minute(self, services: Services) -> None:
        # Given a server whose clock is ahead, and a client that it has served
        ahead = Services(services.store.database, now=minute(5))
        ahead.pass_to(minute(5))
        place = Place.after(minute(5))
        # When the client resumes on one that is not that far / Then it misses nothing and gets nothing twice
        assert self.resume(services, self.offset(place)) == Start(place, Replay(place, True))

    def test_beyond_the_end_of_all_goes_on_at_the_end(self, services: Services) -> None:
        end = services.log.end
        assert self.resume(services, self.offset(Place(minute(4) + 2, ''))) == Start(end, Replay(end, False))

    def test_before_what_was_purged_is_not_complete(self, services: Services) -> None:
        # Given a log whose beginning was deleted, which the server has seen at its last minute
        services.store.purge(minute(2))
        services.pass_to(minute(5))
        # When clients resume / Then those that have lost nothing are told so
        assert self.replayed(services, self.offset(Place.after(minute(2)))) == (4, True)
        assert self.replayed(services, self.offset(event(3, minute(2)).place)) == (4, False)

    @pytest.mark.parametrize(('missed', 'complete', 'first'), [(3, True, 5), (4, False, 5), (8, False, 5)])
    def test_far_behind_is_cut_to_the_newest(self, missed: int, complete: bool, first: int) -> None:
        # Given a limit of 3
        services = self.filled(replay_limit=3)
        # When a client resumes that has missed some / Then it gets no more than the limit
        place = event(7 - missed, minute(1 + (7 - missed) // 2)).place if missed < 8 else Place.after(BASE)
        start = self.resume(services, self.offset(place))
        assert start.replay == Replay(services.log.end, complete)
        assert self.replayed(services, self.offset(place)) == (3, complete)
        assert start.place is not None
        assert numbers(services, start.place, services.log.end)[0] == first

    def test_counts_what_lies_beyond_the_first_pages_too(self) -> None:
        # Given more than is made ready ahead
        services = opened()
        offset = services.join().offset
        services.add(*range(1, 30), time=minute(1))
        services.pass_to(minute(1))
        # When a client resumes / Then all of it is counted
        assert self.replayed(services, offset) == (29, True)

    def test_reads_nothing_from_however_many_places_somebody_comes(self, services: Services) -> None:
        # Given a server that has nothing in memory
        fresh = Services(services.store.database, now=minute(5))
        fresh.pass_to(minute(5))
        reads = fresh.store.database.reads
        # When clients resume from many places / Then pages are read when it is their turn
        for number in range(8):
            self.resume(fresh, self.offset(event(number, minute(1 + number // 2)).place))
        assert fresh.store.database.reads == reads

    def test_leaves_what_falls_due_meanwhile_for_after_the_replay(self, services: Services) -> None:
        # Given a client whose replay is being looked for when the next minute passes
        reader_end = services.log.end
        services.forget_pages()
        services.add(8, 9, time=minute(5))
        services.meanwhile('before', lambda: services.pass_to(minute(5)))
        # When it resumes / Then its replay ends where the end was
        start = self.resume(services, self.offset(Place.after(BASE)))
        assert start.replay == Replay(reader_end, True)
        assert services.log.end > reader_end

    def test_fails_where_the_store_fails(self, services: Services) -> None:
        # Given a store that fails / When a client resumes that memory cannot serve / Then it is told to come again
        fresh = Services(services.store.database, now=minute(5))
        fresh.pass_to(minute(5))
        fresh.fail('before')
        with pytest.raises(StoreUnavailable):
            self.resume(fresh, self.offset(Place.after(BASE)))


class TestReplay:
    def test_gets_what_it_missed_then_the_count_then_what_is_live(self, services: Services) -> None:
        # Given a client that missed two pages
        offset = at(services.log.end)
        services.add(*range(1, 7), time=minute(1))
        services.pass_to(minute(1))
        # When it resumes, and another minute passes before its turn
        reader = services.join(offset)
        services.add(7, time=minute(2))
        services.pass_to(minute(2))
        # Then all comes once and in order, and the count between the two
        kinds = [packet.split()[0] for packet in reader.packets if not packet.startswith('cursor')]
        assert reader.reminders == [1, 2, 3, 4, 5, 6, 7]
        assert kinds == ['reminder'] * 6 + ['replayed'] + ['reminder']
        assert reader.replayed == [(6, True)]

    def test_keeps_its_offset_until_it_got_more(self, services: Services) -> None:
        offset = at(services.log.end)
        services.add(1, time=minute(1))
        services.pass_to(minute(1))
        assert services.join(offset).packets == [f'cursor {offset}']

    def test_that_missed_nothing_is_told_so_at_once(self, services: Services) -> None:
        # Given a client that was there a moment ago / When it resumes / Then it is told, and is live
        reader = services.join(at(services.log.end))
        assert reader.packets[1:] == ['replayed 0 True']
        assert services.delivery.counts == {'clients': 1, 'clientsBehind': 0}

    def test_within_a_page_gets_the_rest_of_it(self, services: Services) -> None:
        # Given a client whose connection broke within a minute
        services.add(1, 2, 3, time=minute(1))
        services.pass_to(minute(1))
        # When it resumes behind the first reminder / Then it gets the others
        reader = services.join(at(event(1, minute(1)).place))
        services.catch_up()
        assert reader.reminders == [2, 3]
        assert reader.replayed == [(2, True)]

    def test_ends_its_replay_where_the_end_was(self, services: Services) -> None:
        # Given a minute that is published while a client's replay is being counted
        offset = at(services.log.end)
        services.add(*range(4), time=minute(1))
        services.add(4, time=minute(2))
        services.pass_to(minute(1))
        start = services.log.resume(parse_offset(offset))  # type: ignore[arg-type]
        services.pass_to(minute(2))
        # When it joins / Then the count is that of its replay
        reader = Recorder()
        services.delivery.join(reader, start)
        services.catch_up()
        assert reader.replayed == [(4, True)]
        assert reader.packets[-3].startswith('replayed')
        assert reader.reminders == list(range(5))

    def test_beyond_the_end_waits_for_its_time(self, services: Services) -> None:
        # Given a client that a server whose clock is ahead has served, up to the midst of minute 1
        services.add(1, 2, time=minute(1))
        services.add(3, time=minute(2))
        Services(services.store.database, now=minute(1)).pass_to(minute(1))
        reader = services.join(at(event(1, minute(1)).place))
        other = services.join(at(Place.after(minute(1))))
        assert services.delivery.counts == {'clients': 2, 'clientsBehind': 0}
        # When this server gets there / Then it gets the rest, and what comes after
        services.pass_to(minute(1))
        assert (reader.reminders, other.reminders) == ([2], [])
        services.pass_to(minute(2))
        assert (reader.reminders, other.reminders) == ([2, 3], [3])

    def test_beyond_the_end_may_leave(self, services: Services) -> None:
        # Given a client that is ahead of this server / When it leaves / Then it gets nothing more
        Services(services.store.database, now=minute(1)).pass_to(minute(1))
        reader = services.join(at(Place.after(minute(1))))
        services.delivery.leave(reader)
        services.add(2, time=minute(2))
        services.pass_to(minute(1))
        services.pass_to(minute(2))
        assert reader.reminders == []
