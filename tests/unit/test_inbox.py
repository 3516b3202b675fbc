"""What waits of one client: in order, up to a number and a size, within a rate."""

import pytest

from reminder.websocket.inbox import BURST, MAX_INBOX, MAX_INBOX_SIZE, NO_RATE, TURN, Inbox


def test_messages_are_taken_in_the_order_they_were_put() -> None:
    inbox = Inbox()
    for message in ('one', None, 'two'):
        inbox.put(message)
    assert [inbox.take() for _ in range(3)] == ['one', None, 'two']
    assert not inbox


def test_it_is_full_above_a_number() -> None:
    inbox = Inbox()
    for _ in range(MAX_INBOX):
        inbox.put('')
    assert not inbox.is_full
    inbox.put(None)
    assert inbox.is_full
    inbox.take()
    assert not inbox.is_full


def test_it_is_full_above_a_size() -> None:
    inbox = Inbox()
    inbox.put('x' * (MAX_INBOX_SIZE - 1))
    assert not inbox.is_full
    inbox.put('')
    assert inbox.is_full
    inbox.clear()
    inbox.put('x')
    assert not inbox.is_full


def test_a_client_may_be_ahead_of_its_rate_by_a_burst() -> None:
    inbox, rate = Inbox(), 8  # of which sums are exact
    at_once = sum(inbox.allow(rate, 1_000.0) for _ in range(1_000))
    assert at_once == BURST * rate + 1
    assert [inbox.allow(rate, 1_000.0 + 1 / rate) for _ in range(2)] == [True, False]


def test_who_was_quiet_has_no_more_than_a_burst() -> None:
    inbox, rate = Inbox(), 8  # of which sums are exact
    for now in (0.0, 1e6):
        assert sum(inbox.allow(rate, now) for _ in range(1_000)) == BURST * rate + 1


def test_without_a_rate_all_are_allowed_and_counted() -> None:
    inbox = Inbox()
    assert all(inbox.allow(0, 1_000.0) for _ in range(5_000))
    assert inbox._allowed_until == pytest.approx(1_000 + 5_000 / NO_RATE)


def test_a_turn_is_a_few_messages_of_one_client() -> None:
    inbox = Inbox()
    for _ in range(2 * TURN):
        inbox.put('')
    orders = []
    for number in range(2 * TURN):
        orders.append(inbox.order(1_000.0 + number))
        inbox.take()
        inbox.allow(100, 1_000.0 + number)
    assert orders == [1_000.0] * TURN + [1_000.0 + TURN] * TURN


def test_it_ends_where_nothing_waits() -> None:
    inbox = Inbox()
    for now in (1.0, 2.0):
        inbox.put('')
        assert inbox.order(now) == now
        inbox.take()


def test_who_is_ahead_of_the_rate_comes_later() -> None:
    ahead, within = Inbox(), Inbox()
    for _ in range(50):
        ahead.allow(100, 1_000.0)
    for inbox in (ahead, within):
        inbox.put('')
    assert within.order(1_000.1) < ahead.order(1_000.1)
