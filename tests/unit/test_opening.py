"""A server that begins: what it picks up, what it makes up for, and clients that were there before its database."""

from typing import Any

import pytest

from reminder.errors import StoreUnavailable
from reminder.models.event import Place
from reminder.services.log import Start
from tests.memory import BASE, Database, event, minute
from tests.services import Services, shrink_pages


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_pages(monkeypatch)


def opened(**settings: Any) -> Services:
    """A server whose log began at BASE."""
    services = Services(**settings)
    services.pass_to(BASE)
    return services


class TestLog:
    def test_of_a_database_without_a_record_leaves_its_past_alone_and_picks_up_what_waits(self) -> None:
        # Given a database that another program filled
        database = Database()
        for number, time in enumerate([minute(-1), minute(0), minute(1)]):
            database.insert(event(number, time))
        # When a server opens it, and a minute passes
        services = Services(database)
        services.pass_to(BASE)
        reader = services.join()
        services.pass_to(minute(1))
        # Then only what was still to come is delivered
        assert reader.reminders == [2]

    def test_that_fails_is_begun_again(self) -> None:
        # Given a store that fails at each step of the opening, one after the other
        services = Services()
        for verb in ['open', 'close_minute']:
            services.fail(verb)
            # When it is opened / Then it is not open
            with pytest.raises(StoreUnavailable):
                services.close(BASE)
            assert services.log.record is None
        # When it does not fail / Then it is
        services.close(BASE)
        assert services.log.record == services.store.database.record

    def test_finds_what_fell_due_while_no_server_ran(self) -> None:
        # Given a server that ended after minute 1, and events after that
        database = opened().store.database
        for number in range(4):
            database.insert(event(number, minute(number)))
        first = Services(database)
        first.pass_to(minute(1))
        # When another begins after minute 3
        second = Services(database, now=minute(3) + 1)
        second.pass_to(minute(3))
        # Then a connection that knows no place begins behind minute 1, for five minutes
        assert second.log.begin(minute(8)) == Start(Place.after(minute(1)))
        assert second.log.begin(minute(8) + 1) == Start(None)

    def test_where_nothing_was_missed_begins_at_the_end(self) -> None:
        # Given a server that ended / When another begins in the same minute / Then nothing is to be made up for
        assert Services(opened().store.database, now=BASE + 1).log.begin(BASE) == Start(None)

    def test_of_a_new_log_has_nobody_to_make_up_for(self) -> None:
        # Given a database that is new, and a minute that passed / When a client connects / Then it begins at the end
        services = opened()
        services.pass_to(minute(1))
        assert services.log.begin(services.now) == Start(None)

    def test_makes_up_for_what_fell_due_since_it_began_too(self) -> None:
        # Given a server that was begun again and missed nothing, and a minute that passed since
        services = Services(opened().store.database, now=BASE + 1)
        services.pass_to(BASE)
        services.pass_to(minute(1))
        # When a client connects that may have been on its way back / Then it begins where the server did
        assert services.log.begin(services.now) == Start(Place.after(BASE))

    def test_makes_up_for_the_newest_of_what_was_missed(self) -> None:
        # Given 5 events that were missed, and a limit of 3
        database = opened().store.database
        for number in range(5):
            database.insert(event(number, minute(1)))
        services = Services(database, now=minute(1) + 1, replay_limit=3)
        services.pass_to(minute(1))
        # When a connection begins / Then it gets the newest 3
        reader = services.join()
        services.catch_up()
        assert reader.reminders == [2, 3, 4]

    def test_just_before_a_minute_leaves_that_for_its_time(self) -> None:
        # Given an event at minute 1, and a server that begins 100 ms before it
        services = Services(opened().store.database, now=minute(1) - 100)
        services.store.database.insert(event(1, minute(1)))
        # When it closes the minute
        services.close(minute(1))
        # Then the end is not beyond now, and what is due is published in its time
        assert services.log.end <= Place.after(services.now)
        start, pages = services.log.publish()
        assert sum(page.reminders(start, services.log.end) for page in pages) == 1


class TestWaitingClients:
    def test_places_those_who_came_before(self) -> None:
        # Given a client that connected, and one that left, before the database was there
        services = Services()
        reader, gone = services.join(), services.join()
        services.delivery.leave(gone)
        assert reader.packets == []
        assert services.delivery.counts == {'clients': 1, 'clientsBehind': 0}
        # When the log is opened, and a minute passes
        services.pass_to(BASE)
        services.add(1, time=minute(1))
        services.pass_to(minute(1))
        # Then the one that is there is told its place, and is reminded
        assert reader.packets[0].startswith('cursor')
        assert (reader.reminders, gone.packets) == ([1], [])

    def test_of_an_old_log_does_not_repeat_it(self) -> None:
        # Given a log that began long ago, and a client that connected before it was opened
        services = Services()
        services.pass_to(BASE)
        services.add(1, time=minute(1))
        services.pass_to(minute(1))
        late = Services(services.store.database, now=minute(2))
        reader = late.join()
        # When it is opened
        late.pass_to(minute(2))
        # Then the client has not missed anything
        assert reader.reminders == []

    def test_makes_up_for_what_was_missed_for_those_who_came_before(self) -> None:
        # Given events that fell due while no server ran, and a client that connected before the log was opened
        services = Services()
        services.pass_to(BASE)
        services.add(1, time=minute(1))
        late = Services(services.store.database, now=minute(2))
        reader = late.join()
        # When it is opened / Then the client gets them
        late.pass_to(minute(2))
        assert reader.reminders == [1]

    def test_whose_first_reading_fails_places_them_all_the_same(self) -> None:
        # Given a client that waits, 100 ms before a minute, and a store that fails once the log is open
        database = Database()
        Services(database).pass_to(BASE)
        services = Services(database, now=minute(1) - 100)
        services.add(1, time=minute(1))
        reader = services.join()
        services.fail('read')
        with pytest.raises(StoreUnavailable):
            services.close(minute(1))
        # When it works again / Then the client is reminded
        services.pass_to(minute(1))
        assert reader.reminders == [1]

    def test_just_before_a_minute_reminds_nobody_early(self) -> None:
        # Given a client that waits, 100 ms before a minute
        database = Database()
        Services(database).pass_to(BASE)
        services = Services(database, now=minute(1) - 100)
        services.store.add(event(1, minute(1)))
        reader = services.join()
        # When the minute is closed / Then nothing is written until it begins
        services.close(minute(1))
        services.catch_up()
        assert reader.reminders == []
        services.delivery.publish()
        services.catch_up()
        assert reader.reminders == [1]
