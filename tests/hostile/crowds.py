"""Many connections: that come and go, stay and say nothing, come back for the whole past."""

from random import randrange

from tests.hostile.raw import SPAN, Gone, Target, handshake, pour, request, text

SHARE = 500
"""Sessions that one address may have."""
LONG_AGO = '40{"since":"1970-01-01T00:00:00Z"}'


def connections_that_come_and_go(target: Target) -> None:
    """With a word or without."""
    for number in target.lasting():
        link = target.link()
        link.send((b'', b'G', handshake(), handshake() + text('40'))[number % 4])
        link.close()


def connections_that_stay(target: Target) -> None:
    """From one address, which gets no more than its share; from many others."""
    links = [target.link() for _ in range(SHARE + 100)]
    for link in links:
        link.send(handshake())
    heads = [link.read_head().split()[1] for link in links]
    assert heads.count(b'101') == SHARE and heads.count(b'503') == 100
    for number in range(SHARE):
        link = target.link()
        link.send(handshake(f'X-Forwarded-For: 192.0.2.{number % 250}'))
        assert link.read_head().split()[1] == b'101'


def sessions_that_nobody_polls(target: Target) -> None:
    status = [target.ask('GET', '/socket.io/?EIO=4&transport=polling').status for _ in target.lasting()]
    assert status.count(200) <= SHARE and set(status) <= {200, 503}


def addresses_that_are_made_up(target: Target) -> None:
    """Only what the trusted proxy appends counts; whatever else the header says is neither believed nor kept."""
    for number in target.lasting(SPAN):
        for line in ('x' * 7_000, ', ' * 3_000, f'{number}, ' * 500, '::1', '127.0.0.1, ;DROP', '\xff' * 100):
            status = target.ask('GET', '/socket.io/?EIO=4&transport=polling', b'', f'X-Forwarded-For: {line}').status
            assert status in (200, 400, 503)


def a_herd_that_wants_it_all(target: Target) -> None:
    """200 clients that want 10,000 reminders each: half of them read, the others do not."""
    links = [target.link() for _ in range(200)]
    for number, link in enumerate(links):
        link.send(handshake(f'X-Forwarded-For: 192.0.2.{number}') + text(LONG_AGO))
    for link in links:
        assert link.read_head().startswith(b'HTTP/1.1 101 ')
    pour(links[:100], text('6'), read=True)


def a_herd_of_which_each_left_off_elsewhere(target: Target) -> None:
    """500 clients that want what lies behind a reminder of the past, each behind an earlier one than the client before,
    so that what was read for that is of no use: some of them read, the others do not."""
    links = [target.link() for _ in range(500)]
    for number, link in enumerate(links, 1):
        since = text(f'40{{"since":"{10_000 - 20 * number + randrange(20):024x}"}}')
        link.send(handshake(f'X-Forwarded-For: 192.0.2.{number % 250}') + since)
    for link in links:
        assert link.read_head().startswith(b'HTTP/1.1 101 ')
    pour(links[:100], text('6'), 3 * SPAN, read=True)


def a_herd_that_comes_back(target: Target) -> None:
    """Again and again, for the whole past, gone before it has it."""
    for number in target.lasting():
        link = target.link()
        link.send(handshake(f'X-Forwarded-For: 192.0.2.{number % 250}') + text(LONG_AGO))
        try:
            link.read_head()
        except Gone:
            continue
        link.close()


def requests_from_everywhere(target: Target) -> None:
    """One each, on connections that stay open."""
    links = [target.link() for _ in range(300)]
    for _ in target.lasting():
        for link in links:
            link.send(request('GET', '/readyz'))
        assert {link.read_reply().status for link in links} == {200}
