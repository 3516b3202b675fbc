"""What hostile clients send: scripts, which yield the bytes of one connection, by a generator of random numbers alone.

The same numbers make the same bytes, but for the session id and the time that the server has told.
"""

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

FOREIGN = 'stranger '
"""How the names of all events begin that are asked for here and may be due."""


class Heard:
    """What the server said that a client needs to go on."""

    sid = 'AAAAAAAAAAAAAAAAAAAA'
    closed = 0
    """The instant (ms) up to which the log was closed, by the last `cursor`."""


Script = Callable[[random.Random, Heard], Iterator[bytes]]

HANDSHAKE = (
    'GET /socket.io/?EIO=4&transport=websocket{} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n'
    'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
)
METHODS = ('GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE', 'CONNECT', 'get', 'G\0ET', '')
PATHS = (
    '/', '/healthz', '/readyz', '/socket.io/', '/socket.io', '/socket.io/../../etc/passwd', '//', '*', '/%00', '/%ff',
    'http://elsewhere.example/', '/socket.io/?EIO=4&transport=polling', '/socket.io/?EIO=4&transport=websocket',
    '/socket.io/?EIO=3&transport=polling', '/socket.io/?EIO=4&transport=polling&sid=' + 'x' * 4000, '/?' + '&a=b' * 500,
)  # fmt: skip
HEADERS = (
    'Host: 127.0.0.1', 'Host: \xff', 'Origin: https://elsewhere.example', 'Content-Length: 5', 'Content-Length: -1',
    'Content-Length: 9999999999999999999', 'Content-Length: five', 'Transfer-Encoding: chunked', 'Expect: 100-continue',
    'Upgrade: websocket', 'Connection: Upgrade', 'Connection: close', 'Sec-WebSocket-Key: x', 'Cookie: ' + 'c' * 5000,
    'X' * 9000, ': nameless', ' continued', 'X-Forwarded-For: 10.0.0.1', 'Accept-Encoding: gzip',
)  # fmt: skip
TEXTS = (
    '', '\0', '\x1e', 'x' * 1001, 'é' * 1000, '\ud800', '\u202e',
    'a\ntime=2026-01-01T00:00:00.000Z level=info logger=reminder.forged message=line\n',
    '\r\n\r\n', '%s%n{0}', "'; DROP TABLE events; --", '{"$gt": ""}', '__proto__', 'constructor', '../../etc/passwd',
)  # fmt: skip
COMMANDS = (
    'scheduleEvent', 'getAllTimeZones', 'getStatus', 'getEvent', 'cancelEvent', 'updateEvent', 'listEvents',
    'getReminders', 'toString', '__class__', '',
)  # fmt: skip
PACKETS = (
    '40', '40{}', '40{"since":"yesterday"}', '40{"pid":"x","offset":"0123456789abcdef.1.0"}', '40{"token":"a.b.c"}',
    '40/admin,', '40/admin,{}', '41', '42["command",{"command":"getStatus"}]', '421["command",{"command":"getStatus"}]',
    '42["command"]', '421["eventReminder",{}]', '421["disconnect"]', '42[]', '42{}', '43', '431[]', '44{"message":"x"}',
    '451-["command",{"_placeholder":true,"num":0}]', '45999-["command"]', '461-1[{"_placeholder":true,"num":9}]', '47',
    '4' + '2' * 500, '42' + '9' * 500 + '["command"]', '42' + '[' * 60_000, '421["command",' + '9' * 5000 + ']',
    '421["command",NaN]', '421["command",1e999]', '0', '1', '2', '2probe', '3', '5', '6', '7', 'b4AAEC', '',
)  # fmt: skip
FAR = '2290-12-31 23:59'
"""A minute that no soak sees: what is altered at random must not be due under a name that nobody knows."""
SOON = 0.01
"""Which part of the legal commands asks for an event of the next minutes."""


# -- parts ------------------------------------------------------------------------------------------------------------


def altered(rng: random.Random, data: bytes) -> bytes:
    """`data` with a few bytes changed, taken out, doubled or put in."""
    for _ in range(rng.randint(1, 4)):
        begin = rng.randint(0, len(data))
        end = rng.randint(begin, min(len(data), begin + 8))
        middle = rng.choice((b'', data[begin:end] * 2, rng.randbytes(rng.randint(1, 8))))
        data = data[:begin] + middle + data[end:]
    return data


def value(rng: random.Random, depth: int = 3) -> Any:
    """Anything that JSON can say."""
    match rng.randrange(8 if depth else 5):
        case 0:
            return rng.choice(TEXTS)
        case 1:
            return rng.choice((None, True, False))
        case 2:
            return rng.randint(-(2**70), 2**70)
        case 3:
            return rng.random()
        case 4:
            return rng.choice(COMMANDS)
        case 5 | 6:
            return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
        case _:
            return {rng.choice(TEXTS): value(rng, depth - 1) for _ in range(rng.randrange(4))}


def command(rng: random.Random) -> Any:
    """A command: a legal one, one with something wrong in it, or no command at all."""
    match rng.randrange(5):
        case 0:
            return schedule(FOREIGN + rng.choice(TEXTS), FAR, 'UTC')
        case 1:
            wrong = schedule(FOREIGN, FAR, 'UTC')
            wrong['data'][rng.choice(tuple(wrong['data']))] = value(rng)
            return wrong
        case 2:
            return {'command': rng.choice(COMMANDS[1:]), 'data': {'_id': f'{rng.getrandbits(96):024x}'}}
        case 3:
            return {'command': rng.choice(COMMANDS), 'data': value(rng)}
        case _:
            return value(rng)


def soon(rng: random.Random, heard: Heard) -> Any:
    """A command that asks for an event of the next minutes."""
    minute = datetime.fromtimestamp(heard.closed / 1000 + rng.choice((60, 120)), UTC)
    return schedule(FOREIGN + rng.choice(TEXTS), f'{minute:%Y-%m-%d %H:%M}', 'UTC')


def schedule(name: str, time: str, zone: str) -> dict[str, Any]:
    return {'command': 'scheduleEvent', 'data': {'eventName': name, 'time': time, 'timeZone': zone}}


def packet(rng: random.Random) -> bytes:
    """An Engine.IO packet, most often with a Socket.IO packet in it."""
    match rng.randrange(4):
        case 0:
            return rng.choice(PACKETS).encode()
        case 1:
            return altered(rng, rng.choice(PACKETS).encode())
        case 2:
            return rng.choice('0123456789b').encode() + rng.randbytes(rng.randint(0, 200))
        case _:
            return altered(rng, event(rng.randrange(1000), command(rng)))


def event(id: int, content: Any) -> bytes:
    """The packet of a command that wants an answer."""
    return f'42{id}{json.dumps(["command", content])}'.encode()


def frame(rng: random.Random, payload: bytes, first: int = 0x81, masked: bool = True) -> bytes:
    """A WebSocket frame as clients send it (RFC 6455 section 5.2); `first` is its first byte."""
    length, bit = len(payload), 0x80 * masked
    if length < 126:
        head = bytes((first, bit | length))
    elif length < 65_536:
        head = bytes((first, bit | 126)) + length.to_bytes(2, 'big')
    else:
        head = bytes((first, bit | 127)) + length.to_bytes(8, 'big')
    if not masked:
        return head + payload
    mask = rng.randbytes(4)
    key = (mask * (length // 4 + 1))[:length]
    return head + mask + (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(length)


def request(rng: random.Random) -> bytes:
    """An HTTP request of which little is right."""
    line = f'{rng.choice(METHODS)} {rng.choice(PATHS)} {rng.choice(("HTTP/1.1", "HTTP/1.0", "HTTP/9", "ICY"))}'
    lines = [line, *rng.sample(HEADERS, rng.randrange(6))]
    return '\r\n'.join(lines).encode('latin-1') + b'\r\n\r\n' + rng.randbytes(rng.choice((0, 0, 5, 500)))


# -- scripts ----------------------------------------------------------------------------------------------------------


def noise(rng: random.Random, heard: Heard) -> Iterator[bytes]:
    """Random bytes."""
    while True:
        yield rng.randbytes(rng.randint(1, 3000))


def requests(rng: random.Random, heard: Heard) -> Iterator[bytes]:
    """HTTP requests, as they are or altered."""
    while True:
        yield request(rng)
        yield altered(rng, rng.choice((request(rng), HANDSHAKE.format('').encode())))


def trickle(rng: random.Random, heard: Heard) -> Iterator[bytes]:
    """A request, a few bytes at a time, which may never end."""
    text = b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n' + b'X: y\r\n' * 1000
    for begin in range(0, len(text), 3):
        yield text[begin : begin + 3]


def polls(rng: random.Random, heard: Heard) -> Iterator[bytes]:
    """A long-polling session: POSTs of right and wrong packets, GETs, several at once."""
    yield b'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'
    yield _post(heard, b'40')
    while True:
        some = [rng.choice((packet(rng), event(1, command(rng)))) for _ in range(rng.choice((1, 1, 3, 40)))]
        body = b'\x1e'.join(some)
        get = f'GET {_session(heard)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.encode()
        yield rng.choice((get, get + get, _post(heard, body), altered(rng, _post(heard, body))))


def frames(rng: random.Random, heard: Heard) -> Iterator[bytes]:
    """Frames of any opcode, bits and length after a right handshake."""
    yield HANDSHAKE.format('').encode()
    while True:
        payload = rng.randbytes(rng.choice((0, 1, 2, 125, 126, 1000, 70_000)))
        right = frame(rng, payload, rng.choice((0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A)))
        wrong = frame(rng, payload, rng.randrange(256), masked=rng.random() < 0.8)
        yield rng.choice((right, wrong, altered(rng, right), b'\x01\x80\0\0\0\0' * 100, b'\x81\xff' + rng.randbytes(8)))


def packets(rng: random.Random, heard: Heard) -> Iterator[bytes]:
    """Packets in right frames, before and after CONNECT, at times while another session is upgraded."""
    yield HANDSHAKE.format(rng.choice(('', '', f'&sid={heard.sid}'))).encode()
    if rng.random() < 0.7:
        yield frame(rng, b'40')
    while True:
        yield frame(rng, packet(rng))


def commands(rng: random.Random, heard: Heard) -> Iterator[bytes]:
    """Commands of a client that is connected as it should be, now and then many at once."""
    yield HANDSHAKE.format('').encode()
    yield frame(rng, b'40')
    while True:
        many = rng.choice((1, 1, 1, 3, 50))
        wanted = [soon(rng, heard) if rng.random() < SOON else command(rng) for _ in range(many)]
        yield b''.join(frame(rng, event(id, one)) for id, one in enumerate(wanted)) + frame(rng, b'3')


def deaf(rng: random.Random, heard: Heard) -> Iterator[bytes]:
    """Long answers are asked for, and never taken."""
    yield HANDSHAKE.format('').encode()
    yield frame(rng, b'40')
    while True:
        yield frame(rng, b'421["command",{"command":"getAllTimeZones"}]') * 5


SCRIPTS: tuple[Script, ...] = (noise, requests, trickle, polls, frames, packets, commands, deaf)


def _session(heard: Heard) -> str:
    return f'/socket.io/?EIO=4&transport=polling&sid={heard.sid}'


def _post(heard: Heard, body: bytes) -> bytes:
    return f'POST {_session(heard)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n'.encode() + body
