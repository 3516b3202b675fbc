"""Event streams: of clients that do not stop to talk, that do not listen, or are half gone."""

from contextlib import suppress

from tests.hostile.raw import Gone, Link, Target, pour, request
from tests.streams import PATH

SHARE = 500
"""Connections that one address may have."""
CROWD = 200


def asked(query: str = '', *headers: str, body: bytes = b'', number: int = 0) -> bytes:
    """The request for a stream, by the address of that number: attackers of another kind have filled their share."""
    return request('GET', PATH + query, body, f'X-Forwarded-For: 198.51.100.{number}', *headers)


ALL = '?since=1970-01-01T00:00:00Z'


def stream(target: Target, opening: bytes) -> Link:
    """A stream that has begun."""
    link = target.link()
    link.send(opening)
    head = link.read_head()
    assert head.startswith(b'HTTP/1.1 200 '), head
    return link


def streams_that_talk(target: Target) -> None:
    """Nothing of what comes behind the request is looked at, however much it is."""
    links = [stream(target, asked()) for _ in range(20)]
    pour(links, b'\x00\xff' * 50_000, read=True)


def requests_behind_a_stream(target: Target) -> None:
    """None is answered: the stream has no end."""
    more = request('GET', '/healthz')
    links = [stream(target, asked() + more * 100) for _ in range(20)]
    pour(links, more * 1_000, read=True)
    for link in links:
        link.end()
        assert b'HTTP/1.1' not in link.read_to_the_end()


def streams_that_are_half_closed(target: Target) -> None:
    """Who says that no more comes may be gone: the stream ends, whether it has begun or not."""
    for number in target.lasting():
        link = target.link()
        link.send(asked())
        if number % 2:
            link.read_head()
        link.end()
        link.read_to_the_end()


def streams_that_come_and_go(target: Target) -> None:
    """With what they want, or before they have it."""
    for number in target.lasting():
        link = target.link()
        link.send(asked(ALL if number % 2 else ''))
        if number % 3:
            link.read(100)
        link.close()


def streams_that_stay(target: Target) -> None:
    """All at once, and from one address, which gets no more than its share."""
    links = [target.link() for _ in range(SHARE + 100)]
    for link in links:
        link.send(asked())
    heads = [link.read_head().split()[1] for link in links]
    assert heads.count(b'200') == SHARE and heads.count(b'503') == 100


def streams_that_do_not_listen(target: Target) -> None:
    """That want 10,000 reminders each: half of them read, the others do not."""
    links = [target.link() for _ in range(CROWD)]
    for number, link in enumerate(links):
        link.send(asked(ALL, number=number))
    for link in links:
        assert link.read_head().startswith(b'HTTP/1.1 200 ')
    pour(links[: CROWD // 2], b'', read=True)


def requests_for_streams_with_bodies(target: Target) -> None:
    """That come, or are only announced."""
    for number in target.lasting():
        body = b'x' * (number * 10_000 % 200_000 + 1)
        link = target.link()
        link.send(asked('', f'Content-Length: {len(body) + number % 2}', body=body))
        assert link.read_head().startswith(b'HTTP/1.1 200 ')
        link.close()


def streams_from_nowhere(target: Target) -> None:
    """What is asked for is no place, and no channels."""
    for number in target.lasting():
        junk = ('x' * 4_000, '%00%ff', 'a,' * 101, '1e999')[number % 4]
        link = target.link()
        link.send(asked(f'?since={junk}'))
        assert link.read_reply().status == 400
        stream(target, asked('', f'Last-Event-ID: {"9" * 5_000}', 'Last-Event-ID: \xff')).close()


def streams_that_break_within_a_replay(target: Target) -> None:
    """Each time a little further."""
    for number in target.lasting():
        link = target.link()
        link.send(asked(ALL))
        with suppress(Gone):
            link.read(number * 1_000 % 100_000)
        link.close()
