"""Offsets: what clients keep and give back, and what else they may say."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reminder.errors import InvalidInput
from reminder.models.event import Place
from reminder.services.offsets import Since, encode_offset, parse_offset, parse_since

LOG = '0123456789abcdef'
ID = '5fc2a1b0c3d4e5f601234567'
WRONG_OFFSETS = {
    'no text': 17,
    'nothing': None,
    'a list': [f'{LOG}.1.{ID}'],
    'empty': '',
    'two parts': f'{LOG}.1',
    'four parts': f'{LOG}.1.{ID}.',
    'a short log': f'{LOG[1:]}.1.{ID}',
    'capitals': f'{LOG.upper()}.1.{ID}',
    'no time': f'{LOG}..{ID}',
    'a time below zero': f'{LOG}.-1.{ID}',
    'a long time': f'{LOG}.{10**15}.{ID}',
    'other digits': f'{LOG}.\u0661.{ID}',
    'a short id': f'{LOG}.1.{ID[1:]}',
    'a strange id': f'{LOG}.1.{"z" * 24}',
    'a line more': f'{LOG}.1.{ID}\n',
    'blanks': f' {LOG}.1.{ID}',
}


class TestOffset:
    @given(st.integers(0, 10**15 - 1), st.sampled_from(['', ID]))
    def test_comes_back_as_the_place_it_was_made_of(self, time: int, id: str) -> None:
        # Given a place in a log
        place = Place(time, id)
        # When it is encoded and parsed
        since = parse_offset(encode_offset(LOG, place))
        # Then it is the same place in the same log
        assert since == Since(place, log=LOG)

    @pytest.mark.parametrize('text', WRONG_OFFSETS.values(), ids=WRONG_OFFSETS.keys())
    def test_of_another_form_is_none(self, text: object) -> None:
        assert parse_offset(text) is None

    @given(st.text() | st.from_regex(r'[0-9a-f.]{0,60}', fullmatch=True))
    def test_parsing_answers_any_text(self, text: str) -> None:
        # When any text is parsed
        since = parse_offset(text)
        # Then it is none, or the very text that its place would be encoded to, but for zeros before the time
        if since is not None:
            assert since.log is not None
            log, time, id = text.split('.')
            assert encode_offset(since.log, since.place) == f'{log}.{int(time)}.{id}'


class TestSince:
    def test_may_be_an_offset(self) -> None:
        assert parse_since(f'{LOG}.60000.{ID}') == Since(Place(60_000, ID), log=LOG)

    def test_may_be_the_id_of_a_reminder(self) -> None:
        assert parse_since(ID) == Since(id=ID)

    @pytest.mark.parametrize(
        'text', ['1970-01-01T00:01:00.000Z', '1970-01-01T00:01Z', '1970-01-01 01:01:00+01:00', '19700101T000100Z']
    )
    def test_may_be_a_time_with_its_zone_and_counts_that_instant_itself(self, text: str) -> None:
        # When a time is given
        since = parse_since(text)
        # Then it is the place before all that is due at that instant
        assert since == Since(Place(60_000, ''))
        assert Place(60_000, '0' * 24) > since.place > Place(59_999, 'f' * 24)

    def test_before_1970_is_the_beginning(self) -> None:
        assert parse_since('0001-01-01T00:00:00+14:00') == Since(Place(0, ''))

    @pytest.mark.parametrize(
        'text',
        [
            None,
            0,
            {},
            [],
            '',
            'yesterday',
            '1970-01-01T00:01:00',
            '1970-13-01T00:01:00Z',
            ID[1:],
            ID.upper(),
            f'{LOG}.1',
            '\ud800',
            '9' * 5_000,
        ],
        ids=repr,
    )
    def test_of_any_other_form_is_refused_in_plain_words(self, text: object) -> None:
        with pytest.raises(InvalidInput, match=r"^'since' must be an offset, the _id of a reminder, or an ISO 8601"):
            parse_since(text)

    @given(st.text() | st.datetimes(timezones=st.timezones()).map(str))
    def test_any_text_is_understood_or_refused(self, text: str) -> None:
        # When any text is parsed / Then it has a place, or is refused by the one error that clients are told of
        with suppress(InvalidInput):
            assert parse_since(text).place >= Place(0, '')
