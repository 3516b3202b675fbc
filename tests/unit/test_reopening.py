"""Clocks that were wrong: the log that was closed ahead of time is reopened, once, and readers go on."""

import logging
from typing import Any

import pytest

from reminder.errors import StoreUnavailable
from reminder.models.event import MINUTE, Place, iso
from reminder.services.offsets import encode_offset, parse_since
from tests.memory import BASE, minute
from tests.services import FIRST, Services, shrink_pages


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


class TestWrongClock:
    """A log that was closed an hour ahead, by a clock that is right again."""

    @staticmethod
    def wrong(**settings: int) -> Services:
        services = opened(**settings)
        services.add(1, time=minute(1))
        services.add(30, time=minute(30))
        services.add(90, time=minute(90))
        services.pass_to(minute(60))
        services.now = minute(1) + 10
        return services

    def test_is_reopened_and_says_so(self, caplog: pytest.LogCaptureFixture) -> None:
        # Given a log that is closed an hour ahead / When the minute passes
        services = self.wrong()
        with caplog.at_level(logging.ERROR):
            services.close(minute(1))
        # Then the log is another one, which began now, and an error says what that means
        record = services.store.record()
        assert (record.log, record.opened, record.closed) == (f'{2:016x}', services.now, services.now)
        assert services.log.record == record
        assert services.log.end == Place.after(services.now)
        assert 'reopening it' in caplog.text
        assert not services.log.due(services.now)

    def test_takes_events_again_and_delivers_none_twice(self) -> None:
        # Given a live client that got what was due within the hour too early
        services = self.wrong()
        reader = services.join(iso(BASE))
        services.catch_up()
        assert reader.reminders == [1, 30]
        # When the log was reopened, an event was added, and the hour passes
        services.pass_to(minute(1))
        services.add(31, time=minute(31))
        for number in range(2, 91):
            services.pass_to(minute(number))
        # Then it gets the new one, and nothing again
        assert reader.reminders == [1, 30, 31, 90]

    @pytest.mark.parametrize(('ahead', 'logs'), [(MINUTE, 1), (MINUTE + 1, 2)])
    def test_up_to_a_minute_ahead_is_left_alone(self, ahead: int, logs: int) -> None:
        # Given a log that is closed that far ahead of now / When a minute is closed
        services = opened()
        services.now = minute(1)
        services.store.close_minute(services.now + ahead)
        services.close(minute(1))
        # Then it is reopened only if that is more than a minute
        assert services.log.record is not None
        assert services.log.record.log == f'{logs:016x}'

    def test_of_which_several_servers_think_alike_is_reopened_once(self) -> None:
        # Given two servers of which the other one reopens the log while this one is about to
        one = self.wrong()
        other = Services(one.store.database, now=one.now)
        one.meanwhile('reopen', lambda: other.pass_to(minute(1)))
        # When both pass the minute
        one.pass_to(minute(1))
        # Then they agree
        assert one.log.record is not None and other.log.record is not None
        assert one.log.record.log == other.log.record.log == f'{2:016x}'

    def test_is_no_clock_that_was_asleep(self) -> None:
        # Given a server that is suspended for five minutes while it closes one, and another that goes on meanwhile
        sleeper = opened()
        other = Services(sleeper.store.database)
        other.pass_to(BASE)
        sleeper.add(1, time=minute(1))
        sleeper.add(5, time=minute(5))
        reader = sleeper.join()

        def sleep() -> None:
            other.pass_to(minute(5))
            sleeper.now = minute(5)

        sleeper.meanwhile('close_minute', sleep)
        # When it goes on
        sleeper.pass_to(minute(1))
        sleeper.pass_to(minute(5))
        # Then nothing is wrong, and nothing is lost
        assert sleeper.store.record().log == FIRST
        assert reader.reminders == [1, 5]

    def test_that_is_put_right_while_a_minute_is_closed_does_not_close_that_again(self) -> None:
        # Given a clock that is an hour ahead until the answer comes
        services = opened()
        services.now = minute(60)

        def put_right() -> None:
            services.now = minute(1) + 10

        services.meanwhile('close_minute', put_right)
        # When the minute that it showed is closed
        services.delivery.close(minute(60), lambda: services.now)
        services.delivery.publish()
        # Then the new log is closed up to now, and nothing is published ahead of its time
        assert services.store.record().closed <= minute(2)
        assert services.log.end <= Place.after(minute(2))

    def test_that_is_put_right_while_the_log_is_opened_does_not_put_the_end_beyond_what_is_closed(self) -> None:
        # Given a clock that is an hour ahead when a server begins, and right when the database answers
        database = opened().store.database
        services = Services(database, now=minute(60))

        def put_right() -> None:
            services.now = minute(1) - 300
            services.meanwhile('close_minute', begin_minute)

        def begin_minute() -> None:
            services.now = minute(1) + 1

        services.meanwhile('close_minute', put_right)
        # When the log is opened and reopened, while the minute begins by the clock
        services.delivery.close(minute(60), lambda: services.now)
        # Then the end is not beyond what is closed
        assert services.log.end <= Place.after(services.store.record().closed)

    def test_whose_reopening_fails_is_put_right_the_next_time(self) -> None:
        # Given a store that fails when the log is to be reopened
        services = self.wrong()
        services.fail('reopen')
        with pytest.raises(StoreUnavailable):
            services.close(minute(1))
        assert services.log.due(services.now)
        # When it is tried again / Then it is done
        services.close(minute(1))
        assert services.store.record().closed == services.now

    def test_leaves_old_offsets_what_there_is_of_the_new_log(self) -> None:
        # Given a client that was served far ahead, and went; the log was reopened, and has something new
        services = self.wrong()
        offset = encode_offset(FIRST, services.log.end)
        services.pass_to(minute(1))
        services.add(2, time=minute(2))
        services.pass_to(minute(2))
        # When it resumes by its old offset
        reader = services.join(offset)
        services.catch_up()
        # Then it gets that, and is told that something may be missing
        assert reader.reminders == [2]
        assert reader.replayed == [(1, False)]

    def test_leaves_old_offsets_incomplete_on_a_server_that_is_behind_too(self) -> None:
        # Given a server that is behind the reopening by a minute
        services = self.wrong()
        offset = encode_offset(FIRST, services.log.end)
        behind = Services(services.store.database)
        services.pass_to(minute(1))
        behind.now = services.now - 2_000
        behind.pass_to(minute(0))
        assert behind.log.end < Place.after(services.store.record().opened)
        # When a client resumes there by an old offset / Then it is not told that nothing is missing
        start = behind.log.resume(parse_since(offset))
        assert start.replay is not None and not start.replay.complete

    @pytest.mark.parametrize('place', [Place.after(minute(1)), Place(minute(60), 'f' * 24)], ids=['new', 'ahead'])
    def test_is_not_guessed_at_by_a_server_that_has_not_seen_the_reopening(self, place: Place) -> None:
        # Given a log that another server has reopened
        stale = self.wrong()
        stale.log.end = Place.after(minute(2))
        other = Services(stale.store.database, now=stale.now)
        other.pass_to(minute(1))
        log = f'{2:016x}' if place.time < minute(2) else FIRST
        # When a client comes with an offset that this server cannot judge / Then it is told to come again
        with pytest.raises(StoreUnavailable):
            stale.log.resume(parse_since(encode_offset(log, place)))

    def test_does_not_resume_a_client_across_the_reopening(self) -> None:
        # Given a client that is being counted for when the log is reopened
        services = self.wrong()
        services.forget_pages()
        services.meanwhile('before', lambda: services.log.close(minute(1), lambda: services.now))
        # When it resumes / Then it is told to come again
        with pytest.raises(StoreUnavailable):
            services.log.resume(parse_since(encode_offset(FIRST, Place.after(BASE))))

    def test_keeps_no_page_that_was_read_across_the_reopening(self) -> None:
        # Given two pages of what lies an hour ahead, of which the first is being read when the log is reopened
        services = self.wrong()
        services.add(*range(91, 95), time=minute(90))
        services.now = minute(0)
        services.forget_pages()
        services.meanwhile('read', lambda: services.log.close(minute(0), lambda: services.now))
        services.log.page(Place.after(BASE - 1))
        # When something is added within that hour, and it passes
        reader = services.join()
        services.add(31, time=minute(31))
        for number in range(1, 61):
            services.pass_to(minute(number))
        # Then it is delivered
        assert reader.reminders == [31]


class TestReopening:
    """The clock was an hour ahead, so minute 60 was published; now it is minute 1 again."""

    @pytest.fixture
    def ahead(self, services: Services) -> Services:
        services.add(2, time=minute(2))
        return services

    def back(self, services: Services) -> None:
        """Sets the clock back, reopens the log, and lets two minutes pass in which there is something new."""
        services.now = minute(1) + 10
        services.pass_to(minute(1))
        services.add(12, time=minute(2))
        services.add(13, time=minute(3))
        services.pass_to(minute(2))
        services.pass_to(minute(3))

    def test_lets_the_live_go_on(self, ahead: Services) -> None:
        reader = ahead.join()
        ahead.pass_to(minute(60))
        self.back(ahead)
        assert reader.reminders == [2, 12, 13]
        assert reader.offset == at(ahead.log.end, f'{2:016x}')

    def test_puts_back_those_who_are_behind(self, ahead: Services) -> None:
        # Given one that is behind within the hour, and one that is behind but for the hour
        within, before = ahead.join(), ahead.join()
        before.idle = False
        ahead.pass_to(minute(30))
        within.idle = False
        ahead.add(45, time=minute(45))
        ahead.pass_to(minute(60))
        # When the log is reopened, and they are idle again
        self.back(ahead)
        for reader in (within, before):
            reader.idle = True
            ahead.delivery.ready(reader)
        ahead.catch_up()
        # Then they get what is new, and nothing that was skipped
        assert within.reminders == [2, 12, 13]
        assert before.reminders == [12, 13]

    def test_puts_back_those_who_are_early(self, ahead: Services) -> None:
        # Given a client that a server which is still further ahead has served
        ahead.pass_to(minute(60))
        ahead.store.close_minute(minute(61))
        reader = ahead.join(at(Place.after(minute(61))))
        # When the log is reopened / Then it gets what is new
        self.back(ahead)
        assert reader.reminders == [12, 13]

    def test_leaves_alone_who_was_early_by_right(self, services: Services) -> None:
        # Given two servers on one database, and a client that the one which is ahead has reminded of minute 1
        services.add(1, time=minute(1))
        other = Services(services.store.database, now=minute(1))
        other.pass_to(minute(1))
        reader = services.join(at(Place.after(minute(1))))
        # When this one reopens the log, behind minute 1, which it has not published itself
        services.store.close_minute(minute(60))
        services.now = minute(1) + 10
        services.pass_to(minute(1))
        # Then the client is not reminded again
        assert reader.reminders == []

    def test_is_not_forgotten_where_reading_fails_after_it(self, ahead: Services) -> None:
        # Given one that is behind, and one that is early, by a wrong clock
        behind = ahead.join()
        behind.idle = False
        ahead.add(45, time=minute(45))
        ahead.pass_to(minute(60))
        ahead.store.close_minute(minute(61))
        early = ahead.join(at(Place.after(minute(61))))
        # When the store fails after the log was reopened
        ahead.now = minute(3) - 100
        ahead.fail('read')
        with pytest.raises(StoreUnavailable):
            ahead.close(minute(3))
        # Then they are put back all the same
        ahead.pass_to(minute(3))
        ahead.add(4, time=minute(4))
        ahead.pass_to(minute(4))
        behind.idle = True
        ahead.delivery.ready(behind)
        ahead.catch_up()
        assert early.reminders == [4]
        assert behind.reminders == [2, 4]

    def test_leaves_nobody_an_offset_of_the_old_log(self, services: Services) -> None:
        # Given a client that is behind, whose page has just been read when the log is reopened
        services.add(2, 3, 4, time=minute(2))
        services.pass_to(minute(60))
        reader = services.join(at(Place.after(BASE)))
        services.forget_pages()
        read = services.store.read

        def read_then_reopen(*args: Any, **options: Any) -> Any:
            events = read(*args, **options)
            services.now = minute(3) + 10
            services.delivery.close(minute(3), lambda: services.now)
            return events

        services.store.read = read_then_reopen  # type: ignore[method-assign]
        assert services.delivery.step() and services.delivery.read()
        services.store.read = read  # type: ignore[method-assign]
        # When it is its turn again / Then what it gets bears places of the new log only
        services.catch_up()
        assert reader.reminders == [2, 3, 4]
        cursors = [packet for packet in reader.packets if packet.startswith('cursor')]
        assert {packet.split()[1].split('.')[0] for packet in cursors[1:]} == {f'{2:016x}'}

    @pytest.mark.parametrize('missed', [2, 45], ids=['before it', 'beyond it'])
    def test_ends_a_replay_and_says_that_it_is_not_complete(self, services: Services, missed: int) -> None:
        # Given a client that is about to be served what it missed up to minute 60
        services.add(missed, time=minute(missed))
        services.pass_to(minute(60))
        reader = services.join(at(Place.after(minute(1) if missed == 2 else minute(40))))
        services.now = minute(3) + 10
        # When the log is reopened at minute 3, and minutes pass
        services.pass_to(minute(3))
        services.add(4, time=minute(4))
        services.pass_to(minute(4))
        reader.idle = False
        services.add(5, time=minute(5))
        services.pass_to(minute(5))
        reader.idle = True
        services.delivery.ready(reader)
        services.catch_up()
        # Then it is told once, behind what there was, and gets each of the new ones once
        assert reader.replayed == [(1 if missed == 2 else 0, False)]
        kinds = [packet.split()[0] for packet in reader.packets if not packet.startswith('cursor')]
        assert kinds[-3:] == ['replayed', 'reminder', 'reminder']
        assert reader.reminders == ([2, 4, 5] if missed == 2 else [4, 5])
