"""Pages: what a cut holds, and what the cache finds, keeps and lets go."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminder.models.event import Place
from reminder.services import pages as pages_module
from reminder.services.pages import CURSOR, PACKET_BYTES, Page, Pages
from tests.services import Packets


def place(number: int) -> Place:
    return Place(number, 'x')


def page(start: int, end: int, numbers: list[int] | None = None, channels: str = '') -> Page:
    """A page of a packet for each number, with a cursor behind every second and at the end.

    `channels` has a letter for each number, '.' for what is for everybody; empty: all are.
    """
    numbers = list(range(start + 1, end + 1)) if numbers is None else numbers
    rows: list[tuple[Place, str | None, bytes]] = []
    for count, (number, letter) in enumerate(zip(numbers, channels or '.' * len(numbers), strict=True), 1):
        rows.append((place(number), None if letter == '.' else letter, b'%d' % number))
        if count % 2 == 0:
            rows.append((place(number), CURSOR, b'c%d' % number))
    rows.append((place(end), CURSOR, b'end'))
    places, whom, packets = zip(*rows, strict=True)
    return Page(place(start), place(end), places, whom, Packets(packets))


class TestCut:
    def test_of_all_is_the_encoded_page_itself(self) -> None:
        # Given a page
        whole = page(0, 4)
        # When all of it is cut / Then nothing is made anew: all readers share it
        assert whole.cut(place(0), place(4)) is whole.cut(place(0), place(4))
        assert whole.cut(place(0), place(4)) == (b'1', b'2', b'c2', b'3', b'4', b'c4', b'end')

    def test_begins_behind_the_cursor_of_its_place(self) -> None:
        assert page(0, 4).cut(place(2), place(4)) == (b'3', b'4', b'c4', b'end')

    def test_ends_with_the_cursor_of_its_place_and_the_tail(self) -> None:
        assert page(0, 4).cut(place(0), place(2), [b'tail']) == (b'1', b'2', b'c2', b'tail')

    def test_of_all_with_a_tail_leaves_the_page_as_it_was(self) -> None:
        # Given a page that was cut with a tail
        whole = page(0, 1)
        assert whole.cut(place(0), place(1), [b'tail']) == (b'1', b'end', b'tail')
        # When it is cut without / Then the tail is gone
        assert whole.cut(place(0), place(1)) == (b'1', b'end')

    def test_within_a_gap_is_the_tail_alone(self) -> None:
        assert page(0, 9, [8]).cut(place(1), place(5), [b'tail']) == (b'tail',)

    @given(st.sets(st.integers(1, 20)), st.data())
    def test_neighbours_make_up_the_whole(self, numbers: set[int], data: st.DataObject) -> None:
        # Given a page, and places to cut it at
        whole = page(0, 20, sorted(numbers))
        cuts = [0, *sorted(data.draw(st.sets(st.integers(1, 19)))), 20]
        # When it is cut there
        parts = [whole.cut(place(a), place(b)) for a, b in pairwise(cuts)]
        # Then the parts are the whole, and they count what they hold
        assert sum(parts, ()) == whole.cut(place(0), place(20))
        assert sum(whole.reminders(place(a), place(b)) for a, b in pairwise(cuts)) == len(numbers)


class TestPart:
    def test_of_a_page_for_everybody_is_the_page(self) -> None:
        whole = page(0, 4)
        assert whole.part(frozenset()) is whole.part(frozenset('abc')) is whole

    def test_for_all_of_its_channels_is_the_page(self) -> None:
        whole = page(0, 4, channels='a.ba')
        assert whole.channels == frozenset('ab')
        assert whole.part(frozenset('abc')) is whole

    def test_holds_what_is_for_everybody_and_for_these_channels_with_the_cursors(self) -> None:
        whole = page(0, 5, channels='a.bab')
        assert whole.part(frozenset('bc')).cut(place(0), place(5)) == (b'2', b'c2', b'3', b'c4', b'5', b'end')
        assert whole.part(frozenset()).cut(place(0), place(5)) == (b'2', b'c2', b'c4', b'end')

    def test_without_reminders_is_a_cursor(self) -> None:
        part = page(0, 3, channels='abb').part(frozenset('c'))
        assert part.cut(place(2), place(3)) == (b'end',)
        assert part.reminders(place(0), place(3)) == 0

    def test_is_shared_by_all_who_get_the_same(self) -> None:
        whole = page(0, 3, channels='a.b')
        assert whole.part(frozenset('ax')) is whole.part(frozenset('ay'))
        assert whole.part(frozenset('x')) is whole.part(frozenset())

    def test_is_forgotten_where_there_is_no_more_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Given room for one part
        monkeypatch.setattr(pages_module, 'ROOM', 0)
        monkeypatch.setattr(pages_module, 'LEAST_ROOM', 2 * pages_module.PART_BYTES + PACKET_BYTES)
        whole = page(0, 2, channels='ab')
        first = whole.part(frozenset('a'))
        # When another is wanted / Then it is made for each who wants it, and the first one stays
        second = whole.part(frozenset('b'))
        assert second.cut(place(0), place(2)) == whole.part(frozenset('b')).cut(place(0), place(2))
        assert second is not whole.part(frozenset('b'))
        assert first is whole.part(frozenset('a'))

    @given(st.text('.abc', min_size=20, max_size=20), st.sets(st.sampled_from('abcd')), st.data())
    def test_is_what_is_for_them_wherever_it_is_cut(self, channels: str, mine: set[str], data: st.DataObject) -> None:
        # Given a part of a page, and places to cut it at
        part = page(0, 20, channels=channels).part(frozenset(mine))
        cuts = [0, *sorted(data.draw(st.sets(st.integers(1, 19)))), 20]
        # When it is cut there / Then it is the reminders for these channels, counted, and every cursor
        wanted = [number for number, letter in enumerate(channels, 1) if letter in mine | {'.'}]
        pieces = [part.cut(place(a), place(b)) for a, b in pairwise(cuts)]
        assert [int(packet) for packet in sum(pieces, ()) if packet.isdigit()] == wanted
        assert sum(part.reminders(place(a), place(b)) for a, b in pairwise(cuts)) == len(wanted)


class TestPages:
    def test_are_found_by_every_place_that_they_cover(self) -> None:
        # Given two pages with a gap between them
        pages, first, second = Pages(), page(0, 3), page(5, 8)
        pages.add(second)
        pages.add(first)
        # When places are looked up / Then each page is found from its start to just before its end
        found = {number: pages.find(place(number)) for number in range(-1, 10)}
        assert found == {
            **dict.fromkeys([-1, 3, 4, 8, 9]),
            **dict.fromkeys([0, 1, 2], first),
            **dict.fromkeys([5, 6, 7], second),
        }

    def test_with_the_same_start_replace_each_other(self) -> None:
        # Given a page that ends early
        pages, longer = Pages(), page(0, 5)
        pages.add(page(0, 2))
        # When a longer one is added / Then that is found
        pages.add(longer)
        assert pages.find(place(1)) is pages.find(place(4)) is longer

    def test_unread_for_longest_go_first(self) -> None:
        # Given room for two pages, and two of which the older was read last
        size = page(0, 1).size
        pages, older, newer = Pages(2 * size), page(0, 1), page(1, 2)
        pages.add(older)
        pages.add(newer)
        pages.find(place(0))
        # When a third comes
        pages.add(page(2, 3))
        # Then the other one is gone
        assert pages.find(place(0)) is older
        assert pages.find(place(1)) is None
        assert pages.find(place(2)) is not None

    def test_keep_one_that_is_larger_than_the_bound(self) -> None:
        # Given less room than a page takes / When pages are added / Then the last one stays, and only that
        pages = Pages(1)
        pages.add(page(0, 1))
        pages.add(page(1, 2))
        assert pages.find(place(0)) is None
        assert pages.find(place(1)) is not None

    def test_weigh_what_their_packets_and_places_take(self) -> None:
        assert page(0, 2).size == len(b'12c2end') + 4 * PACKET_BYTES

    def test_weigh_what_their_parts_may_take(self) -> None:
        # Given a page of many channels, and parts of it for as many readers as there may be
        letters = [chr(0x100 + number) for number in range(300)]
        whole = page(0, 300, channels=''.join(letters))
        for letter in letters:
            whole.part(frozenset(letter))
        # Then it weighs no less than all the parts that it has kept
        kept = [part for part in map(frozenset, letters) if whole.part(part) is whole.part(part)]
        assert whole.size >= len(kept) * (pages_module.PART_BYTES + PACKET_BYTES)
        assert len(kept) > 10

    @given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), max_size=30), st.integers(1, 5))
    def test_found_cover_the_place_whatever_was_added(self, spans: list[tuple[int, int]], room: int) -> None:
        # Given little room, and pages that overlap
        pages = Pages(room * page(0, 1).size)
        for start, length in spans:
            pages.add(page(start, start + length, []))
            # When any place is looked up / Then what is found covers it, and the page that was added last is found
            for number in range(26):
                found = pages.find(place(number))
                assert found is None or found.start <= place(number) < found.end
            assert pages.find(place(start)) is not None
