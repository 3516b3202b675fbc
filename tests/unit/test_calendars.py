"""Calendars: what their entries mean for us. The examples are made after those of RFC 5545 (3.6.1, 3.8.5, 3.8.6.3)."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import icalendar
import pytest
import pytz

from reminder.calendar.vtimezone import vtimezone
from reminder.errors import InvalidInput
from reminder.models.event import Event, iso
from reminder.services.series import rule_of_series
from reminder.transfer.calendar import blocks, read
from reminder.transfer.shifting import shift_rule
from reminder.transfer.target import Repeated

NOW = 1_800_000_000_000  # 2027-01-15 08:00:00 UTC
BERLIN = pytz.timezone('Europe/Berlin')


def calendar(*entries: str) -> list[str]:
    """The lines of a calendar with these entries, each of lines that are divided by blanks at their begin."""
    lines = ['BEGIN:VCALENDAR', 'VERSION:2.0']
    for entry in entries:
        kind = 'VTIMEZONE' if entry.startswith('TZID:') else 'VEVENT'
        lines += [f'BEGIN:{kind}', *(line.strip() for line in entry.strip().splitlines()), f'END:{kind}']
    return [f'{line}\r\n' for line in [*lines, 'END:VCALENDAR']]


def found(*entries: str, now: int = NOW) -> list[Event | Repeated]:
    """What calendars say that are without faults."""
    kept = []
    for _, what in read(calendar(*entries), BERLIN, now):
        assert not isinstance(what, InvalidInput), what
        kept.append(what)
    return kept


def times(*entries: str) -> list[tuple[str, str | None]]:
    """The times and zones of single events."""
    events = found(*entries)
    return [(iso(event.time)[:16], event.zone) for event in events if isinstance(event, Event)]


def fault(*entries: str) -> tuple[str, str]:
    """Where the only entry that cannot be read stands, and why."""
    ((where, error),) = [one for one in read(calendar(*entries), BERLIN, NOW) if isinstance(one.what, InvalidInput)]
    return where, str(error)


@pytest.mark.parametrize(
    ('start', 'expected'),
    [
        ('DTSTART:20300131T083000Z', ('2030-01-31T08:30', 'UTC')),
        ('DTSTART;TZID=America/New_York:20300131T083000', ('2030-01-31T13:30', 'America/New_York')),
        ('DTSTART;TZID="america/new_york":20300131T083059', ('2030-01-31T13:30', 'America/New_York')),
        ('DTSTART;TZID=/mozilla.org/20050126_1/Asia/Tokyo:20300131T083000', ('2030-01-30T23:30', 'Asia/Tokyo')),
        ('DTSTART;TZID=W. Europe Standard Time:20300731T083000', ('2030-07-31T06:30', 'Europe/Berlin')),
        ('DTSTART:20300131T083000', ('2030-01-31T07:30', 'Europe/Berlin')),
        ('DTSTART;VALUE=DATE:20300131', ('2030-01-30T23:00', 'Europe/Berlin')),
        ('DTSTART;TZID=Europe/Berlin:20310330T023000', ('2031-03-30T01:30', 'Europe/Berlin')),
    ],
)
def test_times_are_in_the_zones_that_they_name(start: str, expected: tuple[str, str]) -> None:
    assert times(f'{start}\nSUMMARY:x') == [expected]


TOKYO = 'BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0900\nTZOFFSETTO:+0900\nEND:STANDARD'
EASTERN = """\
BEGIN:DAYLIGHT
DTSTART:20070311T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU
TZOFFSETFROM:-0500
TZOFFSETTO:-0400
END:DAYLIGHT
BEGIN:STANDARD
DTSTART:20071104T020000
RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU
TZOFFSETFROM:-0400
TZOFFSETTO:-0500
END:STANDARD"""


@pytest.mark.parametrize(
    ('zone', 'expected'),
    [
        (f'TZID:Ours\nX-LIC-LOCATION:Asia/Tokyo\n{TOKYO}', ('2030-07-30T23:30', 'Asia/Tokyo')),
        (f'TZID:Ours\n{EASTERN}\nCOMMENT:of New_York', ('2030-07-31T12:30', 'America/New_York')),
    ],
)
def test_a_zone_of_its_own_is_the_one_whose_clocks_agree(zone: str, expected: tuple[str, str]) -> None:
    assert times(zone, 'DTSTART;TZID=Ours:20300731T083000\nSUMMARY:x') == [expected]


def test_a_zone_may_be_told_behind_what_is_in_it() -> None:
    # Given entries before the zones that they name, one of them in two zones
    ours, other = f'TZID:Ours\nX-LIC-LOCATION:Asia/Tokyo\n{TOKYO}', f'TZID:Other\n{EASTERN}'
    both = 'DTSTART;TZID=Ours:20300731T083000\nDTEND;TZID=Other:20300731T083000\nSUMMARY:x'
    daily = 'DTSTART;TZID=Ours:20300731T083000\nSUMMARY:x\nRRULE:FREQ=DAILY\nEXDATE;TZID=Ours:20300801T083000'
    # Then all are as if they stood behind them
    assert times(both, ours, other) == times(both, other, ours) == times(ours, other, both)
    assert times(both, ours, other) == [('2030-07-30T23:30', 'Asia/Tokyo')]
    assert found(daily, ours) == found(ours, daily)


def test_each_calendar_of_a_file_has_zones_of_its_own() -> None:
    entry = 'DTSTART;TZID=Ours:20300731T083000\nSUMMARY:x'
    told = times(entry, f'TZID:Ours\n{TOKYO}', f'TZID:Ours\n{EASTERN}', entry)
    assert [time for time, _ in told] == ['2030-07-30T23:30', '2030-07-31T12:30']


def test_a_zone_that_is_nowhere_is_not_known() -> None:
    odd = TOKYO.replace('+0900', '+0911')
    assert 'is no zone' in fault(f'TZID:Ours\n{odd}', 'DTSTART;TZID=Ours:20300131T083000\nSUMMARY:x')[1]
    assert 'is no zone' in fault('TZID:Ours\nX:', 'DTSTART;TZID=Ours:20300131T083000\nSUMMARY:x')[1]
    assert 'is no zone' in fault('DTSTART;TZID=Mars/Olympus:20300131T083000\nSUMMARY:x')[1]


@pytest.mark.parametrize(
    ('alarms', 'expected'),
    [
        (['TRIGGER:-PT30M'], ['08:00']),
        (['TRIGGER:PT0S', 'TRIGGER:-PT15M', 'TRIGGER;RELATED=START:-PT15M'], ['08:30', '08:15']),
        (['TRIGGER;RELATED=END:-PT10M'], ['09:20']),
        (['TRIGGER:-PT15M\nREPEAT:2\nDURATION:PT5M'], ['08:15', '08:20', '08:25']),
        (['TRIGGER;VALUE=DATE-TIME:20300131T070000Z'], ['07:00']),
        (['TRIGGER:-PT30M\nACTION:NONE'], ['08:30']),
        ([], ['08:30']),
    ],
)
def test_each_alarm_is_a_reminder_at_its_time(alarms: list[str], expected: list[str]) -> None:
    lines = [f'BEGIN:VALARM\n{alarm}\nEND:VALARM' for alarm in alarms]
    entry = '\n'.join(['UID:1', 'DTSTART:20300131T083000Z', 'DTEND:20300131T093000Z', 'SUMMARY:x', *lines])
    assert [time.removeprefix('2030-01-31T') for time, _ in times(entry)] == expected
    assert len({event.id for event in found(entry) if isinstance(event, Event)}) == len(expected)


def test_a_day_before_is_by_the_clock_and_an_hour_before_is_an_hour() -> None:
    entry = 'DTSTART;TZID=Europe/Berlin:20310330T031500\nSUMMARY:x\nBEGIN:VALARM\nTRIGGER:{}\nEND:VALARM'
    assert times(entry.format('-P1D')) == [('2031-03-29T02:15', 'Europe/Berlin')]
    assert times(entry.format('-PT30M')) == [('2031-03-30T00:45', 'Europe/Berlin')]
    back = 'DTSTART;TZID=Europe/Berlin:20311026T030000\nSUMMARY:x\nBEGIN:VALARM\nTRIGGER:-PT30M\nEND:VALARM'
    assert times(back) == [('2031-10-26T01:30', 'UTC')]  # 02:30 comes twice, and this is the second


def test_the_same_entry_is_the_same_event_and_another_is_not() -> None:
    entry = 'UID:{}\nDTSTART:20300131T083000Z\nSUMMARY:{}'
    (first,), (renamed,), (other,) = (found(entry.format(*of)) for of in (('1', 'a'), ('1', 'b'), ('2', 'a')))
    assert isinstance(first, Event) and isinstance(renamed, Event) and isinstance(other, Event)
    assert first.id == renamed.id != other.id
    (ours,) = found(entry.format('0123456789abcdef01234567', 'a'))
    assert isinstance(ours, Event) and ours.id == '0123456789abcdef01234567'


def test_what_is_ours_comes_back() -> None:
    entry = (
        'DTSTART:20300131T083000Z\nSUMMARY:a\\, b\\nc\n'
        'X-EVENT-REMINDER-CHANNEL:team/a\nX-EVENT-REMINDER-PAYLOAD;VALUE=TEXT:{"a":"\\;\\,\\\\n"}'
    )
    (event,) = found(entry)
    assert isinstance(event, Event)
    assert (event.name, event.channel, event.payload) == ('a, b\nc', 'team/a', '{"a":";,\\n"}')


@pytest.mark.parametrize(
    ('entry', 'expected'),
    [
        ('SUMMARY: x ', ' x '),
        ('SUMMARY:\u2028', '\u2028'),
        ('SUMMARY:  ', '  '),
        ('SUMMARY:  \nDESCRIPTION:what\\nmore', 'what'),
        ('DESCRIPTION:what\\nmore', 'what'),
        ('SUMMARY:a b\nX-EVENT-REMINDER-NAME;VALUE=TEXT:"a\\\\rb"', 'a\rb'),
    ],
)
def test_a_name_is_what_stands_there(entry: str, expected: str) -> None:
    lines = [f'{line}\r\n' for line in ('BEGIN:VEVENT', 'DTSTART:20300131T083000Z', *entry.split('\n'), 'END:VEVENT')]
    ((_, event),) = read(lines, BERLIN, NOW)
    assert isinstance(event, Event)
    assert event.name == expected


def test_what_is_no_event_is_counted() -> None:
    left_out = Counter[str]()
    alarm = ['BEGIN:VALARM', 'TRIGGER:PT0S', 'END:VALARM']
    todo = ['BEGIN:VTODO', 'UID:1', *alarm, 'END:VTODO']
    event = ['BEGIN:VEVENT', 'DTSTART:20300131T083000Z', 'SUMMARY:x', *alarm, 'END:VEVENT']
    lines = ['BEGIN:VCALENDAR', *todo, *event, *todo, 'BEGIN:VJOURNAL', 'END:VJOURNAL', 'END:VCALENDAR']
    assert len(list(read([f'{line}\r\n' for line in lines], BERLIN, NOW, left_out))) == 1
    assert left_out == {'VTODO': 2, 'VJOURNAL': 1}


def test_what_is_cancelled_is_left_out() -> None:
    assert found('DTSTART:20300131T083000Z\nSUMMARY:x\nSTATUS:CANCELLED') == []
    assert found('DTSTART:20300131T083000Z\nSUMMARY:x\nRRULE:FREQ=DAILY\nSTATUS:CANCELLED') == []


def series(*entries: str) -> Repeated:
    (one,) = found(*entries)
    assert isinstance(one, Repeated)
    return one


DAILY = 'UID:d\nDTSTART;TZID=America/New_York:20300902T090000\nSUMMARY:daily\nRRULE:FREQ=DAILY;COUNT=10'


def others(one: Repeated) -> list[tuple[str, str, bool]]:
    return [(iso(event.time)[5:16], event.name, event.cancelled) for event in one.others]


def test_a_rule_makes_a_series_in_its_zone() -> None:
    one = series(DAILY)
    assert (one.series.local_time, one.series.zone) == ('2030-09-02 09:00', 'America/New_York')
    assert len(list(rule_of_series(one.series).occurrences(NOW))) == 10
    assert (one.others, one.until) == ([], 0)


def test_dates_that_are_left_out_or_added_have_the_ids_of_occurrences() -> None:
    one = series(
        f'{DAILY}\nEXDATE;TZID=America/New_York:20300903T090000,20300904T090000\nEXDATE:20300905T130000Z\n'
        'EXDATE;VALUE=DATE:20300906\nRDATE:20300920T120000Z\n'
        'RDATE;VALUE=PERIOD:20300921T120000Z/PT1H'
    )
    assert others(one) == [
        ('09-20T12:00', 'daily', False),
        ('09-21T12:00', 'daily', False),
        ('09-03T13:00', 'daily', True),
        ('09-04T13:00', 'daily', True),
        ('09-05T13:00', 'daily', True),
        ('09-06T13:00', 'daily', True),
    ]
    assert iso(one.until) == '2030-09-06T13:00:00.000Z'


def test_an_occurrence_is_moved_or_cancelled_by_an_entry_of_its_own_wherever_that_stands() -> None:
    moved = 'UID:d\nRECURRENCE-ID;TZID=America/New_York:20300904T090000\nDTSTART:20300904T180000Z\nSUMMARY:later'
    gone = 'UID:d\nRECURRENCE-ID:20300905T130000Z\nDTSTART:20300905T130000Z\nSUMMARY:gone\nSTATUS:CANCELLED'
    one = series(moved, DAILY, gone)
    assert others(one) == [('09-04T18:00', 'later', False), ('09-05T13:00', 'daily', True)]
    assert one.others[0].local_time == '2030-09-04 14:00'


def test_an_alarm_of_a_series_is_a_series() -> None:
    one = series(
        f'{DAILY}\nEXDATE:20300903T130000Z\nBEGIN:VALARM\nTRIGGER:-PT15M\nEND:VALARM',
        'UID:d\nRECURRENCE-ID:20300904T130000Z\nDTSTART:20300904T180000Z\nSUMMARY:later',
    )
    assert one.series.local_time == '2030-09-02 08:45'
    assert others(one) == [('09-03T12:45', 'daily', True), ('09-04T17:45', 'later', False)]


def test_dates_without_a_rule_are_single_events() -> None:
    entry = 'DTSTART:20300131T083000Z\nSUMMARY:x\nRDATE:20300201T083000Z,20300202T083000Z\nEXDATE:20300201T083000Z'
    assert times(entry) == [('2030-01-31T08:30', 'UTC'), ('2030-02-02T08:30', 'UTC')]


def test_a_change_of_what_is_not_there_is_an_event() -> None:
    entry = 'UID:1\nRECURRENCE-ID:20300131T083000Z\nDTSTART:20300131T093000Z\nSUMMARY:x'
    assert times(entry) == [('2030-01-31T09:30', 'UTC')]


@pytest.mark.parametrize(
    ('entry', 'said'),
    [
        ('SUMMARY:x', 'it has no DTSTART'),
        ('DTSTART:20300131T083000Z', 'it has no SUMMARY'),
        ('DTSTART:soon\nSUMMARY:x', 'DTSTART is invalid'),
        (
            'DTSTART:20300131T083000Z\nSUMMARY:x\nRECURRENCE-ID;RANGE=THISANDFUTURE:20300131T083000Z',
            'from an occurrence on',
        ),
        ('DTSTART:20300131T083000Z\nSUMMARY:x\nRRULE:FREQ=SECONDLY', 'finer than a minute'),
        ('DTSTART:20300131T083000Z\nSUMMARY:x\nRRULE:FREQ=NEVER', 'RRULE is invalid'),
        ('DTSTART:20300131T083000Z\nSUMMARY:x\nRRULE:FREQ=DAILY\nEXDATE:soon', 'EXDATE is invalid'),
        ('DTSTART:20300131T083000Z\nSUMMARY:x\nRRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY', 'more than one rule'),
        ('DTSTART:20300131T083000Z\nSUMMARY:x\nBEGIN:VALARM\nTRIGGER:soon\nEND:VALARM', "Got: 'soon'"),
        ('DTSTART:20300131T083000Z\nSUMMARY:x\nX-EVENT-REMINDER-CHANNEL:a b', "channel='a b' is invalid"),
        ('DTSTART:20300131T083000Z\nSUMMARY:x\nX-EVENT-REMINDER-PAYLOAD:{', 'is no JSON'),
        ('DTSTART:20300131T083000Z\nSUMMARY:x\nX-EVENT-REMINDER-NAME:7', "'eventName' is required"),
        (f'DTSTART:20300131T083000Z\nSUMMARY:{"x" * 1001}', 'longer than 1000'),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line_and_uid(entry: str, said: str) -> None:
    where, error = fault('DTSTART:20300131T083000Z\nSUMMARY:good', f'UID:bad@x\n{entry}')
    assert said in error
    assert where == 'line 7 (bad@x)'


def test_an_entry_without_its_end_does_not_take_the_next_with_it() -> None:
    lines = ['BEGIN:VEVENT\n', 'SUMMARY:a\n', 'BEGIN:VEVENT\n', 'SUMMARY:b\n', 'END:VEVENT\n', 'BEGIN:VTIMEZONE\n']
    assert [block[:2] for block in blocks(lines, Counter())] == [(1, 'VEVENT'), (3, 'VEVENT'), (6, 'VTIMEZONE')]


MONDAY_MIDNIGHT = datetime(2030, 9, 2)


@pytest.mark.parametrize(
    ('rule', 'start', 'minutes', 'expected'),
    [
        ('FREQ=WEEKLY;BYDAY=MO,WE', MONDAY_MIDNIGHT, 0, 'FREQ=WEEKLY;BYDAY=MO,WE'),
        ('FREQ=WEEKLY;BYDAY=MO,WE', MONDAY_MIDNIGHT, 30, 'FREQ=WEEKLY;BYDAY=MO,WE'),
        ('FREQ=WEEKLY;BYDAY=MO,WE', MONDAY_MIDNIGHT, -30, 'FREQ=WEEKLY;BYDAY=SU,TU;WKST=SU'),
        ('FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU', MONDAY_MIDNIGHT, -30, 'FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,SA;WKST=SU'),
        ('FREQ=DAILY;COUNT=3', MONDAY_MIDNIGHT, -30, 'FREQ=DAILY;COUNT=3'),
        ('FREQ=DAILY;UNTIL=20300904T000000Z', MONDAY_MIDNIGHT, -30, 'FREQ=DAILY;UNTIL=20300903T233000Z'),
        ('FREQ=DAILY;UNTIL=20300904', MONDAY_MIDNIGHT, 60, 'FREQ=DAILY;UNTIL=20300905T005900'),
        ('FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=25', datetime(2030, 12, 25), -540, 'FREQ=YEARLY'),
    ],
)
def test_a_rule_is_shifted(rule: str, start: datetime, minutes: int, expected: str) -> None:
    assert shift_rule(rule, start, timedelta(minutes=minutes), pytz.utc) == expected


@pytest.mark.parametrize('rule', ['FREQ=MONTHLY;BYMONTHDAY=1', 'FREQ=MONTHLY;BYDAY=1MO', 'FREQ=DAILY;BYMONTH=9'])
def test_what_would_be_another_rule_is_refused(rule: str) -> None:
    with pytest.raises(InvalidInput, match='no rule for a reminder 0:30:00 before'):
        shift_rule(rule, datetime(2030, 9, 1), timedelta(minutes=-30), pytz.utc)


def test_nothing_that_stands_in_a_calendar_ends_the_reading() -> None:
    values: list[Any] = [
        '',
        ':',
        'P',
        '\ud800',
        '99999999T999999Z',
        '00010101T000000',
        '99991231T235959',
        'P999999999W',
    ]
    names = ['DTSTART', 'DTEND', 'DURATION', 'RRULE', 'EXDATE', 'RDATE', 'RECURRENCE-ID', 'SUMMARY', 'UID', 'STATUS']
    for name in names:
        for value in values:
            list(read(calendar(f'DTSTART:20300131T083000Z\nSUMMARY:x\n{name}:{value}'), BERLIN, NOW))
            alarm = f'BEGIN:VALARM\nTRIGGER:{value}\nREPEAT:{value}\nDURATION:{value}\nEND:VALARM'
            list(read(calendar(f'DTSTART:{value}\nSUMMARY:x\nRRULE:FREQ=DAILY\n{name}:{value}\n{alarm}'), BERLIN, NOW))


@pytest.mark.parametrize('name', ['Europe/Berlin', 'America/New_York', 'Africa/Casablanca', 'Asia/Kolkata'])
def test_what_a_vtimezone_says_is_what_clocks_show(name: str) -> None:
    zone = pytz.timezone(name)
    told = icalendar.Timezone.from_ical(vtimezone(zone).to_ical())
    assert isinstance(told, icalendar.Timezone)
    clocks = told.to_tz(lookup_tzid=False)
    for day in range(0, 365 * 67, 5):
        moment = datetime(1970, 6, 1, 12) + timedelta(days=day)
        assert clocks.utcoffset(moment) == zone.localize(moment).utcoffset(), moment


def test_a_vtimezone_tells_what_is_the_same_each_year_by_rules() -> None:
    text = vtimezone(BERLIN).to_ical().decode()
    assert 'DTSTART:19810329T020000\r\nRRULE:FREQ=YEARLY;UNTIL=20370330T010000Z;BYDAY=-1SU;BYMONTH=3' in text
    assert 'DTSTART:19961027T030000\r\nRRULE:FREQ=YEARLY;UNTIL=20371026T010000Z;BYDAY=-1SU;BYMONTH=10' in text
    text = vtimezone(pytz.timezone('Africa/Casablanca')).to_ical().decode()  # Ramadan knows no such rule
    assert 'RDATE:20260215T030000\r\n' in text
