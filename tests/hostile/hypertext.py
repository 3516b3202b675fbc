"""HTTP that is malformed, endless, half a request, or many requests."""

import itertools
import time
from contextlib import suppress

import gevent

from tests.hostile.raw import STRANGER, Gone, Target, address, handshake, pour, request

POLL = address()
HEAD = f'POST /nowhere HTTP/1.1\r\nHost: victim\r\n{STRANGER}\r\n'.encode()
NO_REQUESTS = [
    b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(500),  # TLS
    b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    b'SSH-2.0-x\r\n\r\n',
    b'\r\n' * 100,
    b'\x00' * 1_000 + b'\r\n\r\n',
    b'\xff' * 1_000 + b'\r\n\r\n',
    b'GET\r\n\r\n',
    b'GET  HTTP/1.1\r\n\r\n',
    b'GET / HTTP/9.9\r\n\r\n',
    b'GET / HTTP/x.y\r\n\r\n',
    b'GET / HTTP/1\r\n\r\n',
    b'GET / HTTP/\r\n\r\n',
    b'GET / FTP/1.1\r\n\r\n',
    b'A' * 9_000 + b' / HTTP/1.1\r\n\r\n',
    b'GET /' + b'a' * 9_000 + b' HTTP/1.1\r\n\r\n',
    b'GET /?' + b'a=1&' * 100_000 + b' HTTP/1.1\r\n\r\n',
    b'GET / HTTP/1.1\r\n' + b'x: y\r\n' * 10_000 + b'\r\n',
    b'GET / HTTP/1.1\r\nx: ' + b'y' * 1_000_000 + b'\r\n\r\n',
    b'GET / HTTP/1.1\r\n' + b'y' * 1_000_000,
    b'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
    b'POST / HTTP/1.1\r\nContent-Length: 1e9\r\n\r\n',
    b'POST / HTTP/1.1\r\nContent-Length: ' + b'9' * 5_000 + b'\r\n\r\n',
]
"""Each is refused, or the connection is closed."""
ODD = [
    request('GET', '/socket.io/?' + 'a=1&' * 1_000),
    request('GET', '/socket.io/?' + 'EIO=4&transport=polling&' * 200),
    request('GET', '/socket.io/?EIO=4&transport=' + 'x' * 6_000),
    request('GET', '/socket.io/?EIO=4&transport=polling&sid=' + '%ff%00' * 1_000),
    request('GET', '/%00/../../etc/passwd'),
    request('TRACE', POLL),
    request('CONNECT', 'example.com:443'),
    request('OPTIONS', '*'),
    request('PUT', POLL, b'x'),
    request('GET', POLL, b'', 'Origin: http://evil.example'),
    request('GET', POLL, b'', 'Origin: ' + 'x' * 5_000),
    handshake('Origin: null'),
    handshake().replace(b'Version: 13', b'Version: 99'),
    handshake().replace(b'aG9z', b'!!!!'),
    handshake(sid='nobody'),
]
"""Each is a request, and answered with an error."""


def requests_that_are_none(target: Target) -> None:
    for number in target.lasting():
        link = target.link()
        link.send(NO_REQUESTS[number % len(NO_REQUESTS)])
        link.end()
        answer = link.read_to_the_end()
        assert answer == b'' or answer.startswith((b'HTTP/1.1 4', b'HTTP/1.0 4')), answer[:200]
        link.close()


def requests_that_are_odd(target: Target) -> None:
    for number in target.lasting():
        link = target.link()
        link.send(ODD[number % len(ODD)])
        assert 400 <= link.read_reply().status < 500, ODD[number % len(ODD)][:100]
        link.close()


def half_of_a_request(target: Target) -> None:
    """300 connections that say nothing, drip a head or a body, or stay after their answer."""
    links = [target.link() for _ in range(300)]
    silent, heads, bodies, idle = (links[part::4] for part in range(4))
    for link in heads:
        link.send(b'GET / HTTP/1.1\r\nx: ')
    for link in bodies:
        link.send(HEAD + b'Content-Length: 1000000\r\n\r\n')
    for link in idle:
        link.send(request('GET', '/healthz'))
        assert link.read_reply().status == 200
    for _ in target.lasting(1.2):
        for link in heads + bodies:
            link.send(b'x')
        gevent.sleep(0.05)
    assert len(silent) == 75


def bodies_that_lie(target: Target) -> None:
    """Longer or shorter than announced, in chunks that are wrong, on paths that take none."""
    for path, lines in itertools.cycle(
        itertools.product(
            ('/nowhere', '/healthz', POLL, address(sid='nobody')),
            (
                b'Content-Length: 10\r\n\r\nshort',
                b'Content-Length: 1\r\n\r\n' + b'long' * 10_000,
                b'Content-Length: 5\r\nContent-Length: 6\r\n\r\nlength',
                b'Content-Length: 999999999999\r\n\r\n' + bytes(100_000),
                b'Content-Length: 900000\r\nExpect: 100-continue\r\n\r\n',
                b'Transfer-Encoding: chunked\r\n\r\n' + b'ffffffffffffffff\r\n' + bytes(100_000),
                b'Transfer-Encoding: chunked\r\n\r\n' + b'f' * 100_000,
                b'Transfer-Encoding: chunked\r\n\r\n' + b'1;' + b'x' * 100_000,
                b'Transfer-Encoding: chunked\r\n\r\n' + b'1\r\nx\r\n' * 10_000 + b'0\r\n\r\n',
                b'Transfer-Encoding: chunked\r\n\r\n' + b'0\r\n' + b'x: y\r\n' * 10_000,
                b'Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
                b'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
                b'Transfer-Encoding: x\r\n\r\n0\r\n\r\n',
            ),
        )
    ):
        link = target.link()
        link.send(f'POST {path} HTTP/1.1\r\nHost: victim\r\n{STRANGER}\r\n'.encode() + lines)
        link.end()
        assert b' 500 ' not in link.read_to_the_end()
        link.close()
        if time.monotonic() > target.until(1.0):
            return


def bodies_without_end(target: Target) -> None:
    """To paths that do not look at them, and to a session."""
    links = [target.link() for _ in range(40)]
    for number, link in enumerate(links):
        path = (f'/nowhere{number}', '/healthz', POLL, address(sid=target.session()))[number % 4]
        link.send(request('POST', path, b'', 'Content-Length: 999999999999'))
    for link in links[:20]:
        link.close()
    chunked = [target.link() for _ in range(20)]
    for link in chunked:
        link.send(HEAD + b'Transfer-Encoding: chunked\r\n\r\n')
    pour(links[20:], bytes(65_536), 0.6)
    pour(chunked, b'10\r\n0123456789abcdef\r\n' * 3_000, 0.6)


def requests_in_one_piece(target: Target) -> None:
    """Thousands at once, of which each is answered, and some whose answers nobody takes."""
    link = target.link()
    for _ in target.lasting(0.5):
        link.send(request('GET', '/healthz') * 100)
        for _ in range(100):
            assert link.read_reply().status == 200
    pour([target.link() for _ in range(25)], request('GET', '/healthz') * 100 + request('GET', '/nowhere') * 100, 0.7)
    with suppress(Gone):
        target.ask('POST', address(sid='nobody'), request('GET', '/smuggled'))
