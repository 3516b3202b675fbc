"""Readers of channels: each gets its own, once and in order; what several get is made once; nobody waits for others."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reminder.errors import StoreUnavailable
from reminder.models.event import Place
from reminder.services import log as log_module
from reminder.services import pages as pages_module
from reminder.services.delivery import Reader
from reminder.services.log import Replay, Start
from reminder.services.offsets import encode_offset, parse_since
from tests.memory import BASE, event, minute
from tests.services import FIRST, Packets, Recorder, Services, shrink_pages

A, B, NOBODY = frozenset('a'), frozenset('b'), frozenset('z')


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_pages(monkeypatch)


def opened(replay_limit: int = 10_000) -> Services:
    """A server whose log began at BASE."""
    services = Services(replay_limit=replay_limit)
    services.pass_to(BASE)
    return services


def offset(place: Place) -> str:
    return encode_offset(FIRST, place)


class TestALiveReader:
    def test_gets_what_is_for_everybody_and_for_its_channels(self) -> None:
        # Given readers of some channels, and a minute for several
        services = opened()
        plain, a, both, other = (services.join(channels=one) for one in (frozenset(), A, A | B, NOBODY))
        services.add(1, time=minute(1))
        services.add(2, time=minute(1), channel='a')
        services.add(3, time=minute(1), channel='b')
        # When it passes
        services.pass_to(minute(1))
        # Then each gets its own, in order
        assert [reader.reminders for reader in (plain, a, both, other)] == [[1], [1, 2], [1, 2, 3], [1]]

    def test_moves_on_where_there_is_nothing_for_it(self) -> None:
        # Given a reader, and a minute for others
        services = opened()
        reader, other = services.join(channels=A), services.join(channels=B)
        services.add(1, time=minute(1), channel='b')
        services.pass_to(minute(1))
        # Then it is told the same place as they are, and nothing else
        assert reader.packets[1:] == [f'cursor {other.offset}']
        # When it comes back, nothing is looked at again
        assert services.log.resume(parse_since(reader.offset), A).place == services.log.end

    def test_that_gets_nothing_is_written_to_after_those_who_do(self) -> None:
        # Given readers of two channels, who joined in turn
        services, order = opened(), []

        class Ordered(Recorder):
            def write(self, chunk: Packets) -> None:
                order.append(self.channels)

        for channels in (B, A, NOBODY, A, B, frozenset('c')):
            reader = Ordered(channels)
            services.delivery.join(reader, services.log.begin(services.now))
        order.clear()
        # When a minute passes that is for one of them
        services.add(1, time=minute(1), channel='a')
        services.pass_to(minute(1))
        # Then those come first
        assert order[:2] == [A, A]
        assert Counter(order) == {A: 2, B: 2, NOBODY: 1, frozenset('c'): 1}

    def test_shares_what_it_gets_with_all_who_get_the_same(self) -> None:
        # Given readers of different channels of which only one occurs
        services = opened()
        chunks: list[Any] = []

        class Keeping(Recorder):
            def write(self, chunk: Packets) -> None:
                chunks.append(chunk)

        for channels in (A, A | NOBODY, A | frozenset('y')):
            services.delivery.join(Keeping(channels), services.log.begin(services.now))
        chunks.clear()
        # When a minute passes for it and for another
        services.add(1, time=minute(1), channel='a')
        services.add(2, time=minute(1), channel='b')
        services.pass_to(minute(1))
        # Then they got the very same
        assert len(chunks) == 3
        assert chunks[0] is chunks[1] is chunks[2]

    def test_finds_it_ready_at_the_minute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Given readers of several channels, and a minute for them that was closed
        services = opened()
        readers = [services.join(channels=channels) for channels in (A, B, A | B, NOBODY)]
        services.add(1, time=minute(1), channel='a')
        services.add(2, time=minute(1), channel='b')
        services.close(minute(1))
        # When it is published / Then nothing is encoded or selected any more
        monkeypatch.delattr(Packets, 'select')
        monkeypatch.delattr(Packets, 'cut')
        services.delivery.publish()
        assert [reader.reminders for reader in readers] == [[1], [2], [1, 2], []]

    def test_of_a_channel_nobody_made_ready_gets_its_own_all_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Given more kinds of readers than a page keeps ready
        monkeypatch.setattr(pages_module, 'ROOM', 0)
        monkeypatch.setattr(pages_module, 'LEAST_ROOM', 4_000)
        services = opened()
        readers = [services.join(channels=frozenset(name)) for name in 'abcd']
        for number, name in enumerate('abcd'):
            services.add(number, time=minute(1), channel=name)
        made: list[Packets] = []
        select = Packets.select

        def selected(page: Packets, numbers: Sequence[int]) -> Packets:
            made.append(select(page, numbers))
            return made[-1]

        monkeypatch.setattr(Packets, 'select', selected)
        # When their minute is closed / Then one more is made than is kept, as that is how it is known
        services.close(minute(1))
        assert len(made) == 2
        # When it is published / Then each gets its own all the same
        services.delivery.publish()
        assert [reader.reminders for reader in readers] == [[number] for number in range(4)]

    def test_gives_others_a_turn_while_much_is_made_ready(self) -> None:
        services, turns = opened(), []
        for name in 'ab':
            services.join(channels=frozenset(name))
            services.add(ord(name), time=minute(1), channel=name)
        # When a reader leaves and another joins in such a turn
        services.pauses.append(lambda: turns.append(services.join(channels=A)))
        services.close(minute(1))
        # Then nobody is forgotten
        services.delivery.publish()
        (late,) = turns
        assert late.reminders == [ord('a')]

    def test_of_plain_reminders_costs_the_same_whatever_its_channels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Given readers with channels and without, and a minute for everybody that was closed
        services = opened()
        readers = [services.join(channels=channels) for channels in (A, B, A | B, frozenset())]
        services.add(1, time=minute(1))
        services.close(minute(1))
        # When it is published / Then nobody looks at channels
        monkeypatch.delattr(Reader, 'channels')
        services.delivery.publish()
        assert [reader.reminders for reader in readers] == [[1]] * 4


class TestAReaderThatComesBack:
    @pytest.fixture
    def services(self) -> Services:
        """12 events in three minutes, by turns for everybody, for a and for b."""
        services = opened(replay_limit=3)
        for number in range(12):
            services.add(number, time=minute(1 + number // 4), channel=[None, 'a', 'b'][number % 3])
        for number in range(1, 4):
            services.pass_to(minute(number))
        return services

    @pytest.mark.parametrize(
        ('place', 'channels', 'numbers', 'complete'),
        [
            (minute(2), frozenset(), [9], True),
            (minute(1), frozenset(), [6, 9], True),
            (0, frozenset(), [3, 6, 9], False),
            (minute(1), NOBODY, [6, 9], True),
            (minute(2), A, [9, 10], True),
            (minute(1), A, [7, 9, 10], False),
            (minute(2), A | B, [9, 10, 11], False),
        ],
    )
    def test_gets_the_newest_of_its_own(
        self, services: Services, place: int, channels: frozenset[str], numbers: list[int], complete: bool
    ) -> None:
        # When somebody comes back / Then it is owed what is for it alone, and the limit counts that alone
        reader = services.join(offset(Place.after(place)), channels)
        services.catch_up()
        assert (reader.reminders, reader.replayed) == (numbers, [(len(numbers), complete and place > 0)])
        # And is at the end like all others
        services.add(20, time=minute(4), channel='a')
        services.add(21, time=minute(4))
        services.pass_to(minute(4))
        assert reader.reminders[len(numbers) :] == ([20, 21] if 'a' in channels else [21])

    def test_for_other_channels_gets_what_lies_behind_its_place_for_these(self, services: Services) -> None:
        # Given a client that was there for channel a until after minute 2
        place = offset(Place.after(minute(2)))
        # When it comes back for channel b / Then it gets b's, not a's
        reader = services.join(place, B)
        services.catch_up()
        assert (reader.reminders, reader.replayed) == ([8, 9, 11], [(3, True)])

    def test_does_not_learn_when_something_was_that_is_kept_from_them(self) -> None:
        # Given something for a, and something later for b
        services = opened()
        seen, kept = event(1, minute(1)), event(2, minute(2))
        services.add(1, time=seen.time, channel='a')
        services.add(2, time=kept.time, channel='b')
        services.pass_to(minute(3))
        end = services.log.end
        # Then the id of the latter is one like any other that is not known, for who may know of a alone
        for id in (kept.id, event(9, 0).id):
            assert services.log.resume(parse_since(id), A, A) == Start(end, Replay(end, False))
            assert services.log.locate(parse_since(id), A) == (end, False)
        assert services.log.resume(parse_since(seen.id), A, A).place == seen.place
        # And who may know of b, and does not listen to it, is where it was
        assert services.log.resume(parse_since(kept.id), A).place == kept.place

    def test_does_not_have_all_of_the_log_searched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Given a long log for others, with something for a at its begin and at its end
        services = opened(replay_limit=3)
        monkeypatch.setattr(log_module, 'SEARCH', 20)
        services.add(0, time=minute(1), channel='a')
        services.add(*range(1, 60), time=minute(1), channel='b')
        services.add(60, time=minute(1), channel='a')
        services.pass_to(minute(1))
        # When somebody comes back from before it
        start = services.log.resume(parse_since(offset(Place.after(BASE))), A)
        # Then what lies too far back is not looked for, and it is told so
        assert start.replay == Replay(services.log.end, False)
        assert start.place is not None
        assert len(services.store.database.seen(start.place, services.log.end)) <= 20
        assert [int(event.id, 16) for event in services.store.database.seen(start.place, services.log.end, A)] == [60]

    def test_misses_nothing_of_as_much_as_is_searched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        services = opened(replay_limit=3)
        monkeypatch.setattr(log_module, 'SEARCH', 60)
        services.add(0, time=minute(1), channel='a')
        services.add(*range(1, 59), time=minute(1), channel='b')
        services.add(59, time=minute(1), channel='a')
        services.pass_to(minute(1))
        start = services.log.resume(parse_since(offset(Place.after(BASE))), A)
        assert start == Start(Place.after(BASE), Replay(services.log.end, True))


class TestAfterARestart:
    def restarted(self) -> Services:
        """A server that was away while 10 events fell due: for a the first two, then for b."""
        before = opened()
        for number in range(10):
            before.add(number, time=minute(1), channel='a' if number < 2 else 'b')
        return Services(before.store.database, now=minute(2), replay_limit=3)

    def test_each_gets_the_newest_of_its_own(self) -> None:
        # Given a limit that there is more of than that, and clients that connect before and after the log was opened
        services = self.restarted()
        early = [services.join(channels=channels) for channels in (A, B, NOBODY)]
        services.pass_to(minute(2))
        late = [services.join(channels=channels) for channels in (A, B, NOBODY)]
        services.catch_up()
        # Then others' events take nothing away
        assert [reader.reminders for reader in early + late] == [[0, 1], [7, 8, 9], []] * 2

    def test_who_came_before_the_log_was_open_waits_until_the_store_answers(self) -> None:
        # Given clients that came before, and a store that fails when it is asked what they missed
        services = self.restarted()
        readers, gone = [services.join(channels=channels) for channels in (A, B)], services.join(channels=A)
        services.fail('before')
        with pytest.raises(StoreUnavailable):
            services.close(minute(2))
        services.delivery.leave(gone)
        # When it answers again / Then they get it
        services.pass_to(minute(2))
        assert [reader.reminders for reader in readers] == [[0, 1], [7, 8, 9]]
        assert gone.packets == []

    def test_a_client_that_comes_while_the_log_is_reopened_comes_again(self) -> None:
        # Given a server that is asked what was missed, while its clock turns out to have been wrong
        services = self.restarted()
        services.pass_to(minute(2))

        def reopen() -> None:
            services.store.close_minute(minute(30))
            services.close(minute(3))

        services.meanwhile('before', reopen)
        # When it connects / Then it is not given a place that is none any more
        with pytest.raises(StoreUnavailable):
            services.log.begin(services.now, B)
        assert services.log.begin(services.now, B).place is not None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just('add'), st.lists(st.sampled_from([None, *'abcd']), max_size=12)),
        st.tuples(st.just('clog'), st.integers(0, 7)),
        st.tuples(st.just('drop'), st.integers(0, 7)),
        st.tuples(st.just('back'), st.integers(0, 7)),
        st.tuples(st.just('restart'), st.none()),
    ),
    max_size=25,
)
AUDIENCES = [frozenset(names) for names in ('', 'a', 'b', 'ab', 'abcd', 'cd', 'z', 'az')]


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_each_reader_gets_just_its_own_once_in_order_whatever_happens(steps: list[tuple[str, Any]]) -> None:
    # Given a reader for each of several sets of channels
    services, number, time = opened(), 0, 0
    readers: list[Recorder | None] = [services.join(channels=channels) for channels in AUDIENCES]
    got: list[list[int]] = [[] for _ in AUDIENCES]
    last = [reader.offset for reader in readers if reader]
    expected: list[list[int]] = [[] for _ in AUDIENCES]

    def leave(index: int) -> None:
        reader, readers[index] = readers[index], None
        if reader is not None:
            services.delivery.leave(reader)
            keep(index, reader)

    def keep(index: int, reader: Recorder) -> None:
        # What it got behind the last cursor is what it will get again.
        cursor = max(at for at, packet in enumerate(reader.packets) if packet.startswith('cursor'))
        del reader.packets[cursor + 1 :]
        got[index] += reader.reminders
        last[index] = reader.offset

    def come_back(index: int) -> None:
        if readers[index] is None:
            readers[index] = services.join(last[index], AUDIENCES[index])

    # When minutes pass, while some do not read, leave and come back, and the server begins anew
    for what, value in [*steps, *(('back', index) for index in range(len(AUDIENCES))), ('add', [None, *'abcd'])]:
        if what == 'add':
            time += 1
            for channel in value:
                number += 1
                services.add(number, time=minute(time), channel=channel)
                for channels, owed in zip(AUDIENCES, expected, strict=True):
                    if channel is None or channel in channels:
                        owed.append(number)
            services.pass_to(minute(time))
        elif what == 'clog':
            if (reader := readers[value]) is not None:
                reader.idle = not reader.idle
                services.delivery.ready(reader)
                services.catch_up()
        elif what == 'drop':
            leave(value)
        elif what == 'back':
            come_back(value)
            services.catch_up()
        else:
            for index in range(len(AUDIENCES)):
                leave(index)
            services = Services(services.store.database, now=minute(time) + 1)
            services.pass_to(minute(time))
            for index in range(len(AUDIENCES)):
                come_back(index)
            services.catch_up()
    for index, reader in enumerate(readers):
        if reader is not None:
            reader.idle = True
            services.delivery.ready(reader)
            services.catch_up()
            keep(index, reader)
    # Then each got its own, once, in order, and is as far as all others
    assert got == expected
    assert set(last) == {offset(services.log.end)}
