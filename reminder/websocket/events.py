"""Server-Sent Events (WHATWG HTML, section 9.2) as bytes, without I/O: what packets are to a client that only listens.

Each reminder is an event with an id, the offset of who has got it, so that a client whose connection breaks within a
batch goes on with the next. A cursor is an id alone, which such a client keeps, and is told nothing of.
"""

HEARTBEAT = b':\n\n'
"""A comment, which clients pass over."""


def event(packet: bytes, offset: str | None = None) -> bytes:
    """A packet with one argument in the default namespace, `42["name",argument]`, as an event; its argument is JSON.

    `offset` belongs to a reminder; a cursor holds its own.
    """
    name, _, argument = packet[4:-1].partition(b'",')
    if name == b'cursor':
        return b'id: %b\n\n' % argument[1:-1]
    if name == b'eventReminder' and offset is not None:
        return b'event: %b\nid: %b\ndata: %b\n\n' % (name, offset.encode(), argument)
    return b'event: %b\ndata: %b\n\n' % (name, argument)
