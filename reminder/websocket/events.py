"""Server-Sent Events (WHATWG HTML, section 9.2) as bytes, without I/O: what packets are to a client that only listens.

They have the names of the packets' own events, and their data is the one argument as JSON. A reminder and a cursor have
an id, the offset of who has got them, which clients keep: one whose connection breaks within a batch goes on with the
next reminder. An id alone would do for the cursor; but there are clients that keep no id of an event without data.
"""

HEARTBEAT = b':\n\n'
"""A comment, which clients pass over."""


def event(packet: bytes, offset: str = '') -> bytes:
    """A packet with one argument in the default namespace, `42["name",argument]`, as an event.

    `offset` is that of who has got it; a cursor, which holds its own, may do without.
    """
    name, _, argument = packet[4:-1].partition(b'",')
    id = argument[1:-1] if name == b'cursor' else offset.encode()
    return b'event: %b\n%bdata: %b\n\n' % (name, id and b'id: %b\n' % id, argument)
