"""Packets as Server-Sent Events: what an event is, and that none is made but for a stream."""

import json
from itertools import combinations

import pytest

from reminder.models.event import Event
from reminder.websocket import encoded as module
from reminder.websocket.broadcast import SocketIOWire
from reminder.websocket.encoded import STREAMED, Encoded
from reminder.websocket.events import HEARTBEAT, event

WIRE = SocketIOWire()
REMINDERS = [Event(f'{number:024x}', f'name {number}', 1_606_689_000_000) for number in range(3)]
PACKETS = [WIRE.reminder(REMINDERS[0]), WIRE.reminder(REMINDERS[1]), WIRE.cursor('o1'), WIRE.reminder(REMINDERS[2])]
OFFSETS = ['o0', 'o1', 'o1', 'o2']


def reminder(number: int) -> bytes:
    data = json.dumps(REMINDERS[number].reminder(), separators=(',', ':'))
    return f'event: eventReminder\nid: o{number}\ndata: {data}\n\n'.encode()


EVENTS = [reminder(0), reminder(1), b'event: cursor\nid: o1\ndata: "o1"\n\n', reminder(2)]


@pytest.fixture
def page() -> Encoded:
    return WIRE.encode(PACKETS, OFFSETS.__getitem__)


class TestEvent:
    @pytest.mark.parametrize(
        'name', ['Stand-up', '",', 'a\nb\r\n\ndata: c', '\x00\x1e\x85\u2028\u2029', '\ufeff\ud7ff\U0001f600', '"]}\\']
    )
    def test_a_reminder_is_one_line_of_data_whatever_its_name(self, name: str) -> None:
        one = Event('0' * 24, name, 0, payload=json.dumps({'text': name}))
        lines = event(WIRE.reminder(one), 'offset').decode().split('\n')
        assert lines[:2] == ['event: eventReminder', 'id: offset']
        assert json.loads(lines[2].removeprefix('data: ')) == one.reminder()
        assert lines[3:] == ['', '']
        assert not any('\r' in line for line in lines)

    def test_a_cursor_has_its_own_offset_as_its_id(self) -> None:
        assert event(WIRE.cursor('offset')) == b'event: cursor\nid: offset\ndata: "offset"\n\n'

    def test_the_end_of_a_replay_has_no_id(self) -> None:
        """It is no place: a client keeps the id that it has."""
        assert event(WIRE.replayed(3, False)) == b'event: replayed\ndata: {"count":3,"complete":false}\n\n'

    def test_a_sign_of_life_is_a_comment(self) -> None:
        assert HEARTBEAT.startswith(b':') and HEARTBEAT.endswith(b'\n\n')


class TestEncoded:
    def test_is_its_packets_events(self, page: Encoded) -> None:
        assert page.events() == b''.join(EVENTS)

    def test_is_cut_with_what_some_get_behind_it(self, page: Encoded) -> None:
        tail = [WIRE.cursor('o9'), WIRE.replayed(1, True)]
        for first in range(5):
            for last in range(first, 5):
                cut = page.cut(first, last, tail)
                assert cut.events() == b''.join([*EVENTS[first:last], *map(event, tail)])

    def test_some_can_be_selected(self, page: Encoded) -> None:
        for count in range(5):
            for numbers in combinations(range(4), count):
                part = page.select(numbers)
                assert part.events() == b''.join(EVENTS[number] for number in numbers)
                assert part.cut(0, count, []).events() == part.events()

    def test_of_a_selection_some_can_be_selected(self, page: Encoded) -> None:
        assert page.select([0, 1, 3]).select([2]).events() == EVENTS[3]

    def test_a_few_words_to_one_client_need_no_offset(self) -> None:
        assert WIRE.encode([WIRE.cursor('o1')]).events() == EVENTS[2]

    def test_is_made_once_for_all_streams(self, page: Encoded) -> None:
        assert page.events() is page.events()
        cut = page.cut(0, 2, [])
        assert cut.events() is cut.events()

    def test_is_not_made_where_nobody_streams(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, 'event', None)
        page = WIRE.encode(PACKETS, None)
        assert page.select([0]).cut(0, 1, [WIRE.cursor('o')]).frames
        assert WIRE.encode(PACKETS, lambda number: pytest.fail('an offset was asked for')).cut(1, 2, []).frames

    def test_of_few_pages_is_kept(self, page: Encoded) -> None:
        """The cache of pages weighs them without their events."""
        first = page.events()
        for _ in range(STREAMED):
            WIRE.encode(PACKETS, OFFSETS.__getitem__).events()
        assert page.events() is not first
