"""Pages: what a cut holds, and what the cache finds, keeps and lets go."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reminder.models.event import Place
from reminder.services.pages import PACKET_BYTES, Page, Pages
from tests.services import Packets


def place(number: int) -> Place:
    return Place(number, 'x')


def page(start: int, end: int, numbers: list[int] | None = None) -> Page:
    """A page of a packet for each number, with a cursor behind every second and at the end."""
    numbers = list(range(start + 1, end + 1)) if numbers is None else numbers
    places, packets = [], []
    for count, number in enumerate(numbers, 1):
        places.append(place(number))
        packets.append(b'%d' % number)
        if count % 2 == 0:
            places.append(place(number))
            packets.append(b'c%d' % number)
    places.append(place(end))
    packets.append(b'end')
    return Page(place(start), place(end), places, [place(number) for number in numbers], Packets(packets))


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
