"""Channels: their names, what a client may ask for, and what a token lets it know of."""

import pytest

from reminder.errors import InvalidInput
from reminder.services.channels import MAX_CHANNELS, channel, channels
from reminder.services.identity import EVERYBODY, SCOPES, Identity

NAMES = ['a', 'Team_1', 'users/42', 'eu:berlin', 'v1.2-b', 'x' * 128]
NO_NAMES = ['', 'a b', 'ä', 'a\n', '٣', 'x' * 129, '\ud800', 5, True, ['a'], {'name': 'a'}]


class TestOfAnEvent:
    def test_is_none_where_it_is_for_everybody(self) -> None:
        assert channel(None) is None

    @pytest.mark.parametrize('name', NAMES)
    def test_is_a_name(self, name: str) -> None:
        assert channel(name) == name

    @pytest.mark.parametrize('value', NO_NAMES)
    def test_is_nothing_else(self, value: object) -> None:
        with pytest.raises(InvalidInput, match='channel=') as caught:
            channel(value)
        str(caught.value).encode()  # can be shown to anybody
        assert len(str(caught.value)) < 250


class TestOfAClient:
    def test_are_none_unless_it_asks_for_some(self) -> None:
        assert channels(None) == channels([]) == frozenset()

    def test_are_names_each_of_which_counts_once(self) -> None:
        assert channels([*NAMES, *NAMES]) == frozenset(NAMES)

    def test_are_not_too_many(self) -> None:
        names = [str(number) for number in range(MAX_CHANNELS + 1)]
        assert len(channels(names[:-1])) == MAX_CHANNELS
        with pytest.raises(InvalidInput, match=f"'channels' has to be a list of at most {MAX_CHANNELS} names"):
            channels(names)

    @pytest.mark.parametrize('value', ['team', {'team': True}, 5, False])
    def test_are_a_list(self, value: object) -> None:
        with pytest.raises(InvalidInput, match="'channels' has to be a list"):
            channels(value)

    @pytest.mark.parametrize('value', [*NO_NAMES, None])
    def test_are_names_and_nothing_else(self, value: object) -> None:
        with pytest.raises(InvalidInput, match="'channels' holds") as caught:
            channels(['a', value])
        str(caught.value).encode()
        assert len(str(caught.value)) < 300 + 10 * 100  # an escape has up to ten characters


class TestOfAToken:
    def test_allow_any_where_it_names_none(self) -> None:
        for name in (None, *NAMES):
            assert EVERYBODY.may_see(name)
        assert EVERYBODY.allow(frozenset(NAMES)) == frozenset(NAMES)

    def test_allow_those_and_what_is_for_everybody(self) -> None:
        identity = Identity(SCOPES, channels=frozenset({'a', 'b'}))
        assert [identity.may_see(name) for name in (None, 'a', 'b', 'c', 'A')] == [True, True, True, False, False]

    def test_refuse_others_by_name(self) -> None:
        identity = Identity(SCOPES, channels=frozenset({'a'}))
        assert identity.allow(frozenset({'a'})) == {'a'}
        with pytest.raises(InvalidInput, match="channel='b' is not among the channels of your token"):
            identity.allow(frozenset({'c', 'a', 'b'}))
