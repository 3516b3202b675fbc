"""WebSocket frames (RFC 6455) as bytes, without I/O: what a server sends, and what it accepts from a client.

gevent-websocket reads a frame of any announced length into memory, unmasks it byte by byte in Python and checks the
UTF-8 of fragments over and over. This parser checks every header before it takes a byte of payload, unmasks with one
big integer operation, and decodes a message once.
"""

import sys
from collections.abc import Iterator

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

NORMAL, GOING_AWAY, PROTOCOL_ERROR, UNSUPPORTED = 1000, 1001, 1002, 1003
INVALID_DATA, POLICY, TOO_BIG = 1007, 1008, 1009
_CLOSE_CODES = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}

MAX_FRAGMENTS = 1_000
"""Frames that one message may come in; empty ones would otherwise keep a server busy for ever."""


class FrameError(Exception):
    """A client broke the protocol; `code` is the close code of RFC 6455 section 7.4.1 to answer with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One unmasked, unfragmented frame, which is the same for every client (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 65_536:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2, 'big') + payload
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, 'big') + payload


def close_frame(code: int) -> bytes:
    """A close frame with that code and no reason: what went wrong inside concerns no client."""
    return frame(code.to_bytes(2, 'big'), CLOSE)


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Payload XOR mask (RFC 6455 section 5.3), as one operation on big integers."""
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, 'little') ^ int.from_bytes(key, 'little')).to_bytes(length, 'little')


class FrameParser:
    """The messages in a client's bytes, which come in pieces of any size. Holds at most one message and one piece."""

    __slots__ = ('_buffer', '_fragments', '_max', '_opcode', '_size', 'more')

    def __init__(self, max_message: int) -> None:
        """`max_message` is the length in bytes of the largest message accepted, over all its fragments."""
        self._max = max_message
        self._buffer = b''
        self._opcode = 0
        self._fragments: list[bytes] | None = None
        self._size = 0
        self.more = False
        """Whether `feed` ended at its limit, and may have more to yield."""

    def feed(self, data: bytes, limit: int = sys.maxsize) -> Iterator[tuple[int, str | bytes]]:
        """Yields `(opcode, payload)` of each message and control frame that is now whole; text as `str`.

        Takes at most `limit` frames; to go on with those behind them, feed nothing. Must be read to its end before it
        is called again. Raises FrameError; nothing may be fed after that.
        """
        buffer = self._buffer + data if self._buffer else data
        position, end = 0, len(buffer)
        try:
            while end - position >= 2 and limit > 0:
                first, second = buffer[position], buffer[position + 1]
                length = second & 0x7F
                start = position + (2 if length < 126 else 4 if length == 126 else 10)
                self._check_header(first, second)
                if end < start:
                    break
                if length >= 126:
                    length = int.from_bytes(buffer[position + 2 : start], 'big')
                self._check_length(first, start - position, length)
                stop = start + 4 + length
                if end < stop:
                    break
                payload = unmask(buffer[start + 4 : stop], buffer[start : start + 4])
                position = stop
                limit -= 1
                message = self._take(first, payload)
                if message is not None:
                    yield message
        finally:
            self._buffer = buffer[position:]
            self.more = limit == 0

    def _check_header(self, first: int, second: int) -> None:
        """What the first two bytes show to be wrong."""
        opcode = first & 0x0F
        if first & 0x70:
            raise FrameError(PROTOCOL_ERROR, 'reserved bits are set')
        if not second & 0x80:
            raise FrameError(PROTOCOL_ERROR, 'frame is not masked')
        if opcode in (CLOSE, PING, PONG):
            if not first & 0x80 or second & 0x7F > 125:
                raise FrameError(PROTOCOL_ERROR, 'control frame is fragmented or too long')
        elif opcode in (TEXT, BINARY):
            if self._fragments is not None:
                raise FrameError(PROTOCOL_ERROR, 'message begins within another')
        elif opcode != CONTINUATION:
            raise FrameError(PROTOCOL_ERROR, 'reserved opcode')
        elif self._fragments is None:
            raise FrameError(PROTOCOL_ERROR, 'continuation of nothing')

    def _check_length(self, first: int, header: int, length: int) -> None:
        """What an announced length shows to be wrong, before any payload is waited for; `header` without the mask."""
        if length < {2: 0, 4: 126, 10: 65_536}[header]:
            raise FrameError(PROTOCOL_ERROR, 'length is not in its shortest form')
        if self._size + length > self._max and first & 0x0F < CLOSE:
            raise FrameError(TOO_BIG, 'message is too big')

    def _take(self, first: int, payload: bytes) -> tuple[int, str | bytes] | None:
        opcode = first & 0x0F
        if opcode == CLOSE:
            _check_close(payload)
        if opcode >= CLOSE:
            return opcode, payload
        if first & 0x80 and opcode:  # the common case: a message in one frame
            return opcode, _decode(payload) if opcode == TEXT else payload
        if self._fragments is None:
            self._fragments, self._opcode = [], opcode
        self._fragments.append(payload)
        self._size += len(payload)
        if len(self._fragments) > MAX_FRAGMENTS:
            raise FrameError(POLICY, 'too many fragments')
        if not first & 0x80:
            return None
        whole, opcode = b''.join(self._fragments), self._opcode
        self._fragments, self._size = None, 0
        return opcode, _decode(whole) if opcode == TEXT else whole


def _decode(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as exc:
        raise FrameError(INVALID_DATA, 'text is not UTF-8') from exc


def _check_close(payload: bytes) -> None:
    if len(payload) == 1 or (payload and int.from_bytes(payload[:2], 'big') not in _CLOSE_CODES):
        raise FrameError(PROTOCOL_ERROR, 'close code is invalid')
    _decode(payload[2:])
