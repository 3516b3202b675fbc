"""Bodies of long-polling POSTs, read packet by packet: no more than a message and a piece is in memory."""

import base64
from collections.abc import Callable, Iterator

MAX_MESSAGE = 65_536
"""Bytes of one message."""
MAX_POST = 1_000_000
"""Bytes of one POST. Clients older than `maxPayload` (JavaScript before 4.5, Python) put all that waits into one."""
MAX_POST_PACKETS = 5_000
"""Packets of one POST."""
PIECE = 16_384
"""Bytes of a POST that are read at a time, as of a WebSocket."""


class Malformed(Exception):
    """A client sent what the protocol does not know; its session ends at once."""


def packets(read: Callable[[int], bytes], length: int) -> Iterator[str]:
    """The packets of a body of that length, each as soon as it has come. Raises Malformed."""
    for number, packet in enumerate(_split(read, length)):
        if number == MAX_POST_PACKETS or len(packet) > MAX_MESSAGE:
            raise Malformed('too many packets, or one too long')
        try:
            yield packet.decode()
        except UnicodeDecodeError as error:
            raise Malformed('a packet is no UTF-8') from error


def _split(read: Callable[[int], bytes], length: int) -> Iterator[bytes]:
    """The packets up to one that is too long."""
    rest, left = b'', length
    while left and len(rest) <= MAX_MESSAGE:
        size = min(PIECE, left)
        *packets, rest = (rest + read(size)).split(b'\x1e')
        left -= size
        yield from packets
    yield rest


def check_attachment(text: str) -> None:
    """Raises Malformed for an attachment in text that is no base64."""
    try:
        base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Malformed('an attachment is no base64') from error
