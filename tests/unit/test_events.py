"""The rules of scheduling: every failure that clients match on, warnings, and when a minute is closed."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reminder.errors import InvalidInput
from reminder.models.event import Event, instant, iso
from reminder.services import events
from reminder.services.events import LEAD, Scheduled, closing

NOW = instant(datetime(2020, 11, 29, 12, 0, 30, tzinfo=UTC))
DATA = {'eventName': 'tea', 'timeZone': 'Asia/Kolkata', 'time': '2020-11-30 04:00'}
NO_TEXT = [None, True, False, 0, 1, -1.5, [], ['tea'], {}, {'eventName': 'tea'}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def schedule(data: object, now: int) -> Scheduled:
    return events.schedule(events.wanted(data), now)


def failure(data: object, now: int = NOW) -> str:
    with pytest.raises(InvalidInput) as caught:
        schedule(data, now)
    return str(caught.value)


def test_a_valid_event_is_scheduled() -> None:
    event, warning = schedule(DATA, NOW)
    assert event.reminder() == {'name': 'tea', 'time': '2020-11-29T22:30:00.000Z', '_id': event.id}
    assert (event.local_time, event.zone) == ('2020-11-30 04:00', 'Asia/Kolkata')
    assert warning is None


def test_each_event_has_an_id_of_its_own_that_tells_when_it_was_made() -> None:
    first, second = schedule(DATA, NOW).event, schedule(DATA, NOW).event
    assert first.id != second.id
    assert int(first.id[:8], 16) == NOW // 1000


def test_the_zone_matches_in_any_letter_case_and_is_kept_as_it_is_written_properly() -> None:
    event = schedule(DATA | {'timeZone': 'aSIA/kolkATA'}, NOW).event
    assert event.zone == 'Asia/Kolkata'
    assert iso(event.time) == '2020-11-29T22:30:00.000Z'


def test_keys_that_are_not_known_change_nothing() -> None:
    event = schedule(DATA | {'colour': 'red', '_id': 7, 'name': None}, NOW).event
    assert event.reminder() == {'name': 'tea', 'time': '2020-11-29T22:30:00.000Z', '_id': event.id}


@pytest.mark.parametrize('data', [None, True, 0, -1.5, 10**400, '', 'eventName', [], ['eventName'], [{}], {}])
def test_data_that_is_no_object_lacks_a_name(data: object) -> None:
    assert failure(data) == "'eventName' is required"


@pytest.mark.parametrize('name', [*NO_TEXT, ''])
def test_a_name_is_required_and_checked_first(name: object) -> None:
    assert "'eventName' is required" in failure({'eventName': name, 'timeZone': 'Mars', 'time': 5})
    assert "'eventName' is required" in failure({'timeZone': 'Mars', 'time': 5})


@pytest.mark.parametrize(
    'name', ['x', ' ', '\0', '0', 'é' * 1000, '😀' * 1000, '\x7f\u2028\n', "'; DROP TABLE events", '$x']
)
def test_any_text_of_up_to_1000_characters_is_a_name(name: str) -> None:
    assert schedule(DATA | {'eventName': name}, NOW).event.name == name


@pytest.mark.parametrize('name', ['x' * 1001, '😀' * 100_000])
def test_a_longer_name_fails_clearly(name: str) -> None:
    assert failure(DATA | {'eventName': name}) == "'eventName' is longer than 1000 characters"


@pytest.mark.parametrize('name', ['\ud800', 'tea \udfff', '\udc00\ud800'])
def test_half_a_surrogate_pair_is_no_name(name: str) -> None:
    assert "'eventName'" in failure(DATA | {'eventName': name})


@pytest.mark.parametrize('zone', NO_TEXT)
def test_a_zone_is_required(zone: object) -> None:
    assert "'timeZone' is required" in failure({'eventName': 'tea', 'timeZone': zone, 'time': 'x'})
    assert "'timeZone' is required" in failure({'eventName': 'tea', 'time': 'x'})


@pytest.mark.parametrize('zone', ['Mars/Olympus', '', ' UTC', 'UTC\n', "'", 'X' * 100])
def test_an_unknown_zone_is_named(zone: str) -> None:
    assert f"timeZone='{zone}' is invalid" in failure({'eventName': 'tea', 'timeZone': zone, 'time': 5})


@pytest.mark.parametrize('time', NO_TEXT)
def test_a_time_is_required(time: object) -> None:
    assert "'time' is required" in failure(DATA | {'time': time})
    assert "'time' is required" in failure({'eventName': 'tea', 'timeZone': 'UTC'})


@pytest.mark.parametrize('field', ['timeZone', 'time'])
def test_an_empty_zone_or_time_is_missing_as_well_as_invalid(field: str) -> None:
    """The Node.js server calls it missing, and it is a text that is not valid: either is to be found."""
    error = failure(DATA | {field: ''})
    assert f"'{field}' is required" in error
    assert f"{field}='' is invalid" in error


@pytest.mark.parametrize(
    'time',
    [
        'soon',
        '2030-01-01',
        '12:00',
        '2030-01-01 12:00:00',
        '2030-01-01T12:00',
        '2030-01-01  12:00',
        '2030-01-01\t12:00',
        '2030-01-01\u00a012:00',
        '2030-01-01 12:00Z',
        ' 2030-01-01 12:00',
        '2030-01-01 12:00 ',
        '2030-01-01 12:00\n',
        '2030-01-01 12:00\0',
        '2030-1-1 12:00',
        '2030-01-01 1:00',
        '2030-01-01 12:0',
        '2030/01/01 12:00',
        '2030-01-01 12.00',
        '+2030-01-01 12:00',
        '-030-01-01 12:00',
        '2030-+1-01 12:00',
        '2030-01-01 +1:00',
        '2030-01-01 -1:00',
        '2030-01-01  1:00',
        '2_30-01-01 12:00',
        '12030-01-01 12:00',
        '203O-01-01 12:00',
        '\u0662\u0660\u0663\u0660-01-01 12:00',  # Arabic digits
        '\uff12\uff10\uff13\uff10-01-01 12:00',  # fullwidth digits
        '2030-01-01 12:0\u00b2',
        # No such day, no such minute.
        '2030-00-01 12:00',
        '2030-13-01 12:00',
        '2030-01-00 12:00',
        '2030-01-32 12:00',
        '2030-04-31 12:00',
        '2030-02-29 12:00',
        '2100-02-29 12:00',
        '2030-02-30 12:00',
        '0000-02-30 12:00',
        '2030-01-01 24:00',
        '2030-01-01 12:60',
        '2030-01-01 99:99',
        "2030-01-01' OR 1",
    ],
)
def test_a_time_that_is_not_strictly_a_minute_is_invalid(time: str) -> None:
    assert f"time='{time}' is invalid" in failure(DATA | {'time': time})


@pytest.mark.parametrize('time', ['0000-01-01 00:00', '0000-02-29 12:00', '0001-01-01 00:00', '0399-12-31 23:59'])
@pytest.mark.parametrize('zone', ['UTC', 'Asia/Tokyo', 'America/New_York'])
def test_the_first_years_are_past(time: str, zone: str) -> None:
    assert failure(DATA | {'time': time, 'timeZone': zone}) == f"time='{time}' should be in future"


def test_the_last_minute_that_can_be_is_answered() -> None:
    last = DATA | {'time': '9999-12-31 23:59', 'timeZone': 'UTC'}
    assert iso(schedule(last, NOW).event.time) == '9999-12-31T23:59:00.000Z'
    assert "time='9999-12-31 23:59' is invalid" in failure(last | {'timeZone': 'America/New_York'})


@pytest.mark.parametrize('field', ['timeZone', 'time'])
@pytest.mark.parametrize('value', ['x' * 100_000, '\ud800' * 100_000, '\n' * 1000])
def test_what_is_repeated_in_an_error_is_short_and_can_be_sent(field: str, value: str) -> None:
    error = failure(DATA | {field: value})
    assert f"{field}='" in error
    assert 'is invalid' in error
    assert len(error.encode()) < 1000


@pytest.mark.parametrize(
    ('now', 'closed'),
    [
        ('12:00:00.000', '12:00'),
        ('12:00:59.799', '12:00'),
        ('12:00:59.800', '12:01'),
        ('12:00:59.999', '12:01'),
        ('12:01:00.000', '12:01'),
    ],
)
def test_a_minute_is_closed_a_fifth_of_a_second_before_it_begins(now: str, closed: str) -> None:
    assert LEAD == 200
    at = instant(datetime.fromisoformat(f'2020-11-29T{now}+00:00'))
    assert iso(closing(at)) == f'2020-11-29T{closed}:00.000Z'


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2**43))
def test_what_is_closed_is_a_minute_and_the_next_one_is_open(now: int) -> None:
    assert closing(now) % 60_000 == 0
    assert closing(now) <= now + LEAD < closing(now) + 60_000


@pytest.mark.parametrize(
    ('time', 'now', 'is_future'),
    [
        ('12:00', '12:00:00.000', False),
        ('12:00', '12:00:59.000', False),
        ('11:59', '12:00:00.000', False),
        ('12:01', '12:00:00.000', True),
        ('12:01', '12:00:59.799', True),
        ('12:01', '12:00:59.800', False),
        ('12:02', '12:00:59.800', True),
    ],
)
def test_only_a_minute_that_is_open_is_in_the_future(time: str, now: str, is_future: bool) -> None:
    data = {'eventName': 'tea', 'timeZone': 'UTC', 'time': f'2020-11-29 {time}'}
    at = instant(datetime.fromisoformat(f'2020-11-29T{now}+00:00'))
    if is_future:
        assert iso(schedule(data, at).event.time) == f'2020-11-29T{time}:00.000Z'
    else:
        assert failure(data, at) == f"time='2020-11-29 {time}' should be in future"


def test_an_event_that_comes_too_late_for_the_store_fails_in_the_same_words() -> None:
    event = Event('0' * 24, 'tea', NOW, '2020-11-29 12:00', 'UTC')
    assert str(events.too_late(event)) == failure(DATA | {'time': '2020-11-29 12:00', 'timeZone': 'UTC'})


def test_a_time_that_the_zone_skips_comes_with_a_warning() -> None:
    data = {'eventName': 'tea', 'timeZone': 'america/new_york', 'time': '2021-03-14 02:30'}
    event, warning = schedule(data, NOW)
    assert iso(event.time) == '2021-03-14T07:30:00.000Z'
    assert event.local_time == '2021-03-14 02:30'
    assert warning == (
        '2021-03-14 02:30 does not exist in America/New_York, where clocks are put forward then; '
        'the reminder comes at 2021-03-14 03:30 there, 2021-03-14T07:30:00.000Z'
    )


def test_a_time_that_the_zone_repeats_comes_with_a_warning() -> None:
    event, warning = schedule({'eventName': 'tea', 'timeZone': 'Europe/Berlin', 'time': '2021-10-31 02:30'}, NOW)
    assert iso(event.time) == '2021-10-31T00:30:00.000Z'
    assert warning == (
        '2021-10-31 02:30 comes twice in Europe/Berlin, where clocks are put back then; '
        'the reminder comes at the first, 2021-10-31T00:30:00.000Z'
    )


def answer(data: object) -> Any:
    """What becomes of `data`, in a form that has to survive being sent."""
    try:
        event, warning = schedule(data, NOW)
    except InvalidInput as error:
        return str(error)
    return [event.reminder(), warning]


@settings(deadline=None)
@given(JSON)
@example('\ud800')
def test_any_json_value_in_any_place_is_answered(value: object) -> None:
    """Given any value as data, name, zone or time, then there is an event or a failure, and both can be sent."""
    for data in (value, *(DATA | {field: value} for field in DATA)):
        found = answer(data)
        assert json.loads(json.dumps(found, ensure_ascii=False).encode()) == found


@settings(deadline=None)
@given(st.from_regex(r'\A2[1-9]\d\d-[01]\d-[0-3]\d [0-2]\d:[0-6]\d\Z'))
def test_a_time_is_valid_if_the_calendar_has_it(time: str) -> None:
    try:
        is_valid = bool(datetime.strptime(time, '%Y-%m-%d %H:%M')) and time.isascii()
    except ValueError:
        is_valid = False
    found = answer(DATA | {'time': time, 'timeZone': 'UTC'})
    if is_valid:
        assert found[0]['time'] == f'{time.replace(" ", "T")}:00.000Z'
    else:
        assert f"time='{time}' is invalid" in found


def test_deeply_nested_values_are_answered() -> None:
    nested: Any = []
    for _ in range(sys.getrecursionlimit() * 10):
        nested = [nested]
    for field in DATA:
        assert f"'{field}' is required" in failure(DATA | {field: nested})
