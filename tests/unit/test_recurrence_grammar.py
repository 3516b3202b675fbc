"""The grammar of rules: what is taken, and what is refused in which words."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reminder.services import rrule
from reminder.services.rrule import Frequency, Parts


def test_every_part_is_read() -> None:
    text = (
        'FREQ=YEARLY;INTERVAL=2;COUNT=10;WKST=SU;BYSETPOS=-1,3;BYMONTH=12,1;BYMONTHDAY=-1,31,+5;BYYEARDAY=1,-366;'
        'BYDAY=MO,-1FR,+2TU,MO;BYHOUR=23,0;BYMINUTE=59,0,59;BYSECOND=0'
    )
    assert rrule.parse(text) == Parts(
        freq=Frequency.YEARLY,
        interval=2,
        count=10,
        wkst=6,
        bysetpos=(-1, 3),
        bymonth=(1, 12),
        bymonthday=(-1, 5, 31),
        byyearday=(-366, 1),
        byday=((0, 0), (1, 2), (4, -1)),
        byhour=(0, 23),
        byminute=(0, 59),
        bysecond=(0,),
    )
    assert rrule.parse('FREQ=YEARLY;BYWEEKNO=-1,53,20').byweekno == (-1, 20, 53)


@pytest.mark.parametrize(
    'text',
    [
        'FREQ=WEEKLY;BYDAY=MO',
        'RRULE:FREQ=WEEKLY;BYDAY=MO',
        'rrule:freq=weekly;byday=mo',
        'BYDAY=MO;FREQ=WEEKLY',
        '\tFREQ=WEEKLY;BYDAY=MO\r\n',
    ],
)
def test_the_name_the_case_and_the_order_do_not_matter(text: str) -> None:
    assert rrule.parse(text) == Parts(freq=Frequency.WEEKLY, byday=((0, 0),))


@pytest.mark.parametrize(
    ('value', 'until'),
    [
        ('20261224', datetime(2026, 12, 24, 23, 59)),
        ('20261224T080000', datetime(2026, 12, 24, 8)),
        ('20261224T080030Z', datetime(2026, 12, 24, 8, 0, 30, tzinfo=UTC)),
    ],
)
def test_until_is_a_day_a_local_time_or_an_instant(value: str, until: datetime) -> None:
    found = rrule.parse(f'FREQ=DAILY;UNTIL={value}').until
    assert found == until
    assert found.tzinfo == until.tzinfo


@pytest.mark.parametrize(
    ('text', 'why'),
    [
        ('', 'one RRULE'),
        ('every monday', 'one RRULE'),
        ('FREQ=DAILY\nFREQ=WEEKLY', 'one RRULE'),
        ('DTSTART:20260101T090000\nRRULE:FREQ=DAILY', 'one RRULE'),
        ('RRULE:FREQ=DAILY\nEXDATE:20260101T090000', 'one RRULE'),
        ('FREQ=DAILY; COUNT=3', 'one RRULE'),
        ('FREQ=DAILY;COUNT=\u0663', 'one RRULE'),
        ('FREQ=M\u0131NUTELY', 'one RRULE'),
        ('FREQ=DAILY\ud800', 'one RRULE'),
        ('FREQ=DAILY\0', 'FREQ is required to be one of YEARLY, MONTHLY,'),
        (f'FREQ=DAILY;BYHOUR={"1," * 300}1', 'longer than 500'),
        ('daily', "'DAILY' is no NAME=VALUE"),
        ('FREQ=DAILY;', "'' is no NAME=VALUE"),
        ('EXRULE:FREQ=DAILY', 'EXRULE:FREQ is no part'),
        ('DTSTART=20260101T090000;FREQ=DAILY', 'DTSTART is no part'),
        ('FREQ=DAILY;EXDATE=20260101T090000', 'EXDATE is no part'),
        ('FREQ=DAILY;BYEASTER=0', 'BYEASTER is no part'),
        ('FREQ=DAILY;TZID=UTC', 'TZID is no part'),
        ('FREQ=DAILY;FREQ=DAILY', 'FREQ stands there twice'),
        ('COUNT=3', 'FREQ is required'),
        ('FREQ=', 'FREQ is required to be one of'),
        ('FREQ=FORTNIGHTLY', 'FREQ is required to be one of'),
        ('FREQ=SECONDLY', 'FREQ=SECONDLY is finer than a minute'),
        ('FREQ=DAILY;BYSECOND=30', 'BYSECOND is finer than a minute'),
        ('FREQ=DAILY;BYSECOND=0,30', 'BYSECOND is finer than a minute'),
        ('FREQ=DAILY;INTERVAL=0', 'INTERVAL is required to hold numbers from 1 to 1000000'),
        ('FREQ=DAILY;INTERVAL=1000001', 'INTERVAL'),
        ('FREQ=DAILY;INTERVAL=-1', 'INTERVAL'),
        ('FREQ=DAILY;INTERVAL=1.5', 'INTERVAL'),
        ('FREQ=DAILY;INTERVAL=1,2', 'INTERVAL'),
        ('FREQ=DAILY;COUNT=0', 'COUNT is required to hold numbers from 1 to 10000'),
        ('FREQ=DAILY;COUNT=10001', 'COUNT'),
        (f'FREQ=DAILY;COUNT={"9" * 400}', 'COUNT'),
        ('FREQ=DAILY;COUNT=1_0', 'COUNT'),
        ('FREQ=DAILY;COUNT=3;UNTIL=20261224', 'COUNT and UNTIL exclude each other'),
        ('FREQ=DAILY;UNTIL=20260230', 'UNTIL'),
        ('FREQ=DAILY;UNTIL=00001224', 'UNTIL'),
        ('FREQ=DAILY;UNTIL=20261224T240000', 'UNTIL'),
        ('FREQ=DAILY;UNTIL=20261224T236000', 'UNTIL'),
        ('FREQ=DAILY;UNTIL=20261224T0800Z', 'UNTIL'),
        ('FREQ=DAILY;UNTIL=2026-12-24', 'UNTIL'),
        ('FREQ=DAILY;UNTIL=tomorrow', 'UNTIL'),
        ('FREQ=DAILY;WKST=1', 'WKST'),
        ('FREQ=DAILY;BYMONTH=0', 'BYMONTH is required to hold numbers from 1 to 12'),
        ('FREQ=DAILY;BYMONTH=13', 'BYMONTH'),
        ('FREQ=DAILY;BYMONTH=-1', 'BYMONTH'),
        ('FREQ=DAILY;BYMONTH=', 'BYMONTH'),
        ('FREQ=DAILY;BYMONTH=1,,2', 'BYMONTH'),
        ('FREQ=DAILY;BYMONTHDAY=32', 'BYMONTHDAY'),
        ('FREQ=DAILY;BYMONTHDAY=-0', 'BYMONTHDAY'),
        ('FREQ=YEARLY;BYYEARDAY=367', 'BYYEARDAY'),
        ('FREQ=YEARLY;BYWEEKNO=54', 'BYWEEKNO'),
        ('FREQ=DAILY;BYHOUR=24', 'BYHOUR'),
        ('FREQ=DAILY;BYMINUTE=60', 'BYMINUTE'),
        ('FREQ=DAILY;BYHOUR=+1', 'BYHOUR'),
        ('FREQ=DAILY;BYDAY=MONDAY', 'BYDAY'),
        ('FREQ=DAILY;BYDAY=', 'BYDAY'),
        ('FREQ=MONTHLY;BYDAY=0MO', 'BYDAY'),
        ('FREQ=YEARLY;BYDAY=54MO', 'BYDAY'),
        ('FREQ=MONTHLY;BYDAY=MO(+1)', 'BYDAY'),
        ('FREQ=MONTHLY;BYDAY=6MO', 'more than the 5'),
        ('FREQ=YEARLY;BYMONTH=1;BYDAY=-6MO', 'more than the 5'),
        ('FREQ=WEEKLY;BYDAY=1MO', 'BYDAY with a number'),
        ('FREQ=YEARLY;BYWEEKNO=20;BYDAY=1MO', 'BYDAY with a number'),
        ('FREQ=MONTHLY;BYWEEKNO=20', 'BYWEEKNO goes with FREQ=YEARLY'),
        ('FREQ=DAILY;BYYEARDAY=1', 'BYYEARDAY does not go with FREQ=DAILY'),
        ('FREQ=WEEKLY;BYMONTHDAY=1', 'BYMONTHDAY does not go with FREQ=WEEKLY'),
        ('FREQ=MONTHLY;BYSETPOS=1', 'BYSETPOS needs another BY'),
        ('FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0', 'BYSETPOS'),
    ],
)
def test_what_is_no_rule_is_refused_in_plain_words(text: str, why: str) -> None:
    with pytest.raises(ValueError) as raised:
        rrule.parse(text)
    assert why in str(raised.value)


@settings(deadline=None)
@given(st.text() | st.from_regex(r'(FREQ|COUNT|BYDAY|UNTIL|BYHOUR|WKST)=[-+0-9A-Za-z,]*(;[A-Z]+=.*)?'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert isinstance(rrule.parse(text), Parts)
    except ValueError as error:
        assert str(error)
        assert not isinstance(error, UnicodeError)
