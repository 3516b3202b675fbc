"""Events, places and ids: the order of the log, and what clients see of an event."""

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest

from reminder.models import event as module
from reminder.models.event import MINUTE, Event, Place, instant, iso, new_id

NOW = 1_606_689_000_000  # 2020-11-29T22:30:00Z


def test_places_are_ordered_by_time_then_id() -> None:
    places = [Place(1, ''), Place(1, 'a'), Place(1, 'b'), Place(2, ''), Place(2, '0'), Place(10, '')]
    shuffled = random.Random(1).sample(places, len(places))
    assert sorted(shuffled) == places


def test_the_place_after_an_instant_lies_behind_its_last_event_and_before_the_next_one() -> None:
    assert Event('f' * 24, 'tea', NOW).place < Place.after(NOW) < Event('0' * 24, 'tea', NOW + 1).place


def test_a_reminder_is_what_the_node_server_sends_key_for_key() -> None:
    event = Event('5fc4222ea2ab2e0012345678', 'tea', NOW, '2020-11-29 23:30', 'Europe/Berlin')
    assert list(event.reminder().items()) == [
        ('name', 'tea'),
        ('time', '2020-11-29T22:30:00.000Z'),
        ('_id', '5fc4222ea2ab2e0012345678'),
    ]


@pytest.mark.parametrize(
    ('ms', 'text'),
    [
        (0, '1970-01-01T00:00:00.000Z'),
        (1, '1970-01-01T00:00:00.001Z'),
        (-1, '1969-12-31T23:59:59.999Z'),
        (NOW + 999, '2020-11-29T22:30:00.999Z'),
        (-62_135_596_800_000, '0001-01-01T00:00:00.000Z'),
        (253_402_300_799_999, '9999-12-31T23:59:59.999Z'),
    ],
)
def test_an_instant_is_written_as_javascript_does_and_read_back(ms: int, text: str) -> None:
    assert iso(ms) == text
    assert instant(datetime.fromisoformat(text)) == ms


@pytest.mark.parametrize('ms', [0, 1, -1, NOW])
def test_an_instant_is_rounded_down_in_any_zone(ms: int) -> None:
    for offset in -720, 0, 330, 840:
        zone = timezone(timedelta(minutes=offset))
        moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(zone)
        assert instant(moment) == ms
        assert instant(moment + timedelta(microseconds=999)) == ms


def test_ids_have_the_form_of_an_object_id() -> None:
    id = new_id(NOW)
    assert len(bytes.fromhex(id)) == 12
    assert id == id.lower()
    assert int(id[:8], 16) == NOW // 1000


def test_ids_are_unique_and_grow_from_second_to_second() -> None:
    ids = [new_id(NOW + number) for number in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert new_id(NOW + MINUTE) > max(ids)
    assert len({id[8:18] for id in ids}) == 1


def test_an_ids_counter_and_seconds_keep_their_width_when_they_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, '_COUNTER', iter([0xFFFFFF, 0x1000000, 0x1000001]))
    ids = [new_id(2**32 * 1000 - 1), new_id(2**32 * 1000), new_id(2**33 * 1000)]
    assert [(id[:8], id[18:]) for id in ids] == [
        ('ffffffff', 'ffffff'),
        ('00000000', '000000'),
        ('00000000', '000001'),
    ]
