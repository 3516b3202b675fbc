"""WebSocket frames that RFC 6455 forbids, and legal ones in numbers that nobody needs."""

import itertools

import gevent

from tests.hostile.raw import Target, command, pour, text
from tests.wire import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame

RSV = 0x70
MASKED = 0x80
MASK = b'mask'
MAX_FRAGMENTS = 1_000
BROKEN = [
    frame(FIN | TEXT, b'3', masked=False),
    frame(FIN | PING, b'', masked=False),
    *(frame(FIN | TEXT | bit, b'3') for bit in (0x40, 0x20, 0x10, RSV)),
    *(frame(FIN | opcode, b'3') for opcode in (*range(0x3, 0x8), *range(0xB, 0x10))),
    *(frame(opcode, b'') for opcode in (CLOSE, PING, PONG)),
    *(frame(FIN | opcode, b'x' * 126) for opcode in (CLOSE, PING, PONG)),
    *(frame(FIN | opcode, b'x' * 65_536) for opcode in (CLOSE, PING, PONG)),
    frame(FIN | CONTINUATION, b'3'),
    frame(TEXT, b'4') + frame(FIN | TEXT, b'4'),
    frame(TEXT, b'4') + frame(BINARY, b'4'),
    bytes((FIN | TEXT, MASKED | 126, 0, 1)) + MASK + b'3',
    bytes((FIN | TEXT, MASKED | 127)) + (1).to_bytes(8) + MASK + b'3',
    frame(FIN | CLOSE, b'x'),
    *(frame(FIN | CLOSE, code.to_bytes(2)) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535)),
]
"""Each to be answered with 1002."""
NO_UTF_8 = [
    b'\xff',
    b'\xc0\xaf',
    b'\xed\xa0\x80',
    b'\xf4\x90\x80\x80',
    b'\xf8\x88\x80\x80\x80',
    b'\xe2\x82',
    'ä'.encode() * 30_000 + b'\x80',
]
"""Each to be answered with 1007, also where it comes in fragments of one byte."""


def expect(target: Target, code: int, *pieces: bytes) -> None:
    link = target.client()
    link.send(*pieces)
    assert link.close_code() == code, pieces
    link.close()


def lengths_that_are_only_announced(target: Target) -> None:
    header = bytes((FIN | TEXT, MASKED | 127))
    for number in target.lasting():
        length = (2**40, 2**63 - 1, 65_537, 10**9)[number % 4]
        expect(target, 1009, header + length.to_bytes(8))
        expect(target, 1009, header + length.to_bytes(8) + MASK + bytes(65_536))
    links = target.clients(50)
    for link in links:
        link.send(header + (2**40).to_bytes(8) + MASK)
    pour(links, bytes(65_536), 0.3)


def forbidden_frames(target: Target) -> None:
    for number in target.lasting():
        expect(target, 1002, BROKEN[number % len(BROKEN)])


def text_that_is_no_utf_8(target: Target) -> None:
    for number in target.lasting():
        payload = b'4' + NO_UTF_8[number % len(NO_UTF_8)]
        expect(target, 1007, frame(FIN | TEXT, payload))
        if len(payload) < 10:
            pieces = [frame(CONTINUATION, payload[at : at + 1]) for at in range(1, len(payload))]
            expect(target, 1007, frame(TEXT, payload[:1]), *pieces, frame(FIN | CONTINUATION))
        expect(target, 1007, frame(FIN | CLOSE, (1000).to_bytes(2) + b'\xff'))


def endless_fragments(target: Target) -> None:
    for _ in target.lasting():
        expect(target, 1008, frame(TEXT) + frame(CONTINUATION) * MAX_FRAGMENTS)
        expect(target, 1008, frame(TEXT, b'4') + frame(CONTINUATION, b'x') * MAX_FRAGMENTS)
        expect(target, 1009, frame(TEXT, b'4' * 40_000), frame(CONTINUATION, b'x' * 40_000))
    pour(target.clients(50), frame(TEXT) + frame(CONTINUATION) * 999, 0.3)


def legal_fragments(target: Target) -> None:
    """As many as are allowed, each message as long as is allowed, and pings between them."""
    message = command({'command': 'x' * 65_000}).encode()
    pieces = [message[at : at + 66] for at in range(0, len(message), 66)]
    whole = b''.join(
        [frame(TEXT, pieces[0]), *(frame(CONTINUATION, piece) + frame(FIN | PING) for piece in pieces[1:])]
    )
    pour(target.clients(10), whole + frame(FIN | CONTINUATION))


def frames_beyond_the_limit(target: Target) -> None:
    """Legal ones of 900 KB, of which only the header is looked at."""
    whole = frame(FIN | TEXT, b'4' * 900_000)
    for _ in target.lasting():
        links = target.clients(10)
        for link in links:
            gevent.spawn(link.send, whole)
        for link in links:
            assert link.close_code() == 1009
            link.close()


def pings_without_end(target: Target) -> None:
    """On 100 connections, of which half never take a pong."""
    links = target.clients(100)
    pour(links[:50], frame(FIN | PING, b'x' * 125) * 500)
    pour(links[50:], frame(FIN | PING) * 10_000, read=True)


def packets_that_mean_nothing(target: Target) -> None:
    """Noops, and pongs that nobody has asked for."""
    pour(target.clients(100), (text('6') + text('3')) * 5_000)


def bytes_one_by_one(target: Target) -> None:
    """Legal messages, each byte in a segment of its own, on many connections at a time."""
    links = target.clients(50)
    message = text(command({'command': 'x' * 60_000}))
    for place in itertools.islice(target.lasting(), len(message)):
        for link in links:
            link.send(message[place : place + 1])


def ends_of_every_kind(target: Target) -> None:
    """Closes that are repeated, followed by more, half open, or torn within a frame."""
    close = frame(FIN | CLOSE, (1000).to_bytes(2))
    for _ in target.lasting():
        expect(target, 1000, close + text(command({})) * 1_000 + close * 100)
        expect(target, 1000, close, bytes(65_536))
        for rest in (b'', close[:3], text(command({}))[:20], frame(TEXT, b'4')):
            link = target.client()
            link.send(rest)
            link.close()
