"""Whose a connection is, and how much an address may have."""

from contextlib import ExitStack

import pytest

from reminder.errors import Busy
from reminder.websocket.addresses import SHARE, Shares, client_address


@pytest.mark.parametrize(
    ('forwarded', 'proxies', 'address'),
    [
        (None, 0, '10.0.0.1'),
        ('1.1.1.1', 0, '10.0.0.1'),  # anybody can write that
        ('1.1.1.1', 1, '1.1.1.1'),
        ('6.6.6.6, 1.1.1.1', 1, '1.1.1.1'),  # the first is the client's own invention
        ('6.6.6.6,1.1.1.1,2.2.2.2', 2, '1.1.1.1'),
        ('1.1.1.1', 2, '1.1.1.1'),
        ('', 1, '10.0.0.1'),
        (None, 1, '10.0.0.1'),
        (', ,1.1.1.1', 1, '1.1.1.1'),
    ],
)
def test_an_address_is_told_by_trusted_proxies_alone(forwarded: str | None, proxies: int, address: str) -> None:
    environ = {'REMOTE_ADDR': '10.0.0.1'}
    if forwarded is not None:
        environ['HTTP_X_FORWARDED_FOR'] = forwarded
    assert client_address(environ, proxies) == address


def fill(shares: Shares, address: str) -> int:
    """Takes all that `address` may have; returns how many that is."""
    count = 0
    while shares.has_room(address):
        shares.take(address)
        count += 1
    return count


def test_an_address_has_its_share_and_others_have_theirs() -> None:
    shares = Shares(40)
    assert [fill(shares, f'192.0.2.{number}') for number in range(SHARE + 1)] == [40 // SHARE] * SHARE + [0]
    assert not shares.has_room('127.0.0.1')
    shares.give_back('192.0.2.0')
    assert fill(shares, '192.0.2.7') == 1


def test_there_is_a_share_however_little_there_is() -> None:
    assert fill(Shares(1), '192.0.2.1') == 1


@pytest.mark.parametrize(
    'address', ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1', '', '127.0.0.1:5000', '[::1]:80']
)
def test_this_machine_may_have_all(address: str) -> None:
    assert fill(Shares(40), address) == 40


@pytest.mark.parametrize(
    ('one', 'same'),
    [
        ('2001:db8::1', '2001:db8::ffff:0:1'),
        ('192.0.2.1', '::ffff:192.0.2.1'),
        ('192.0.2.1', '192.0.2.1:4711'),
        ('2001:db8::1', '[2001:db8::2]:4711'),
        ('what', 'ever'),
        ('127.evil', '::g'),
        ('what', 'x' * 20_000),
    ],
)
def test_what_is_one_customers_is_counted_together(one: str, same: str) -> None:
    shares = Shares(40)
    fill(shares, one)
    assert not shares.has_room(same)


def test_another_network_is_somebody_else() -> None:
    shares = Shares(40)
    fill(shares, '2001:db8::1')
    assert shares.has_room('2001:db8:0:1::1')


def test_nothing_is_kept_of_those_who_left() -> None:
    shares = Shares(1_000)
    for number in range(250):
        shares.take(f'10.0.0.{number}')
        shares.give_back(f'10.0.0.{number}')
    assert shares.taken == 0 and not shares._taken


def test_who_has_its_share_is_told_to_come_later_and_others_are_not() -> None:
    shares = Shares(2 * SHARE)
    with ExitStack() as taken:
        for _ in range(2):
            taken.enter_context(shares.one_more('1.1.1.1'))
        with pytest.raises(Busy, match='try again later'), shares.one_more('1.1.1.1'):
            pass
        with shares.one_more('2.2.2.2'):
            assert shares.taken == 3
    assert shares.taken == 0
