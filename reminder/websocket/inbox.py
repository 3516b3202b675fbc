"""The messages of one connection that wait to be handled: how many may, and when it is their turn."""

WINDOW = 128
"""Commands of one connection that run at once. They start in the order they came in; each ack goes out when its
command is done."""
MAX_INBOX = 512
"""Messages of one connection that wait for the window, above which nothing more is read from it. One read (16 KiB)
may go beyond."""
MAX_INBOX_SIZE = 65_536
"""Characters of these messages, above which it is so, too."""
NO_RATE = 100
"""Messages a second at which it is reckoned who has asked for less, where there is no rate limit."""
TURN = 8
"""Messages of one client that begin one after the other before it is another's turn: together they are kept, and
answered."""
BURST = 10.0
"""Seconds' worth of messages that a client may be ahead of the rate limit."""

Message = str | None
"""What a client sent: text, or None for an attachment, which counts all the same."""


class Inbox:
    """Messages in the order that they came in, and the account of their client's rate.

    They are few, or none: a list, as an empty deque would weigh 0.7 KiB for each client.
    """

    __slots__ = ('_allowed_until', '_left_of_turn', '_order', '_size', '_waiting')

    def __init__(self) -> None:
        self._waiting: list[Message] = []  # MAX_INBOX, MAX_INBOX_SIZE, and what one read or POST brings beyond
        self._size = 0
        self._allowed_until = 0.0
        """Until when (monotonic) the messages that were handled would have taken at just the rate limit."""
        self._left_of_turn = 0
        self._order = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether as much waits as may."""
        return len(self._waiting) > MAX_INBOX or self._size > MAX_INBOX_SIZE

    def put(self, message: Message) -> None:
        """Keeps one more, also beyond what may wait."""
        self._waiting.append(message)
        self._size += 1 + len(message or '')

    def take(self) -> Message:
        """The next one."""
        message = self._waiting.pop(0)
        self._size -= 1 + len(message or '')
        if not self._waiting:
            self._left_of_turn = 0
        return message

    def clear(self) -> None:
        """Lets go of all of them."""
        self._waiting.clear()
        self._size = 0

    def allow(self, rate: float, now: float) -> bool:
        """Counts one more message, unless its client is too far ahead of `rate` (messages a second; 0: no limit)."""
        if rate and self._allowed_until > now + BURST:
            return False
        self._allowed_until = max(self._allowed_until, now) + 1 / (rate or NO_RATE)
        return True

    def order(self, now: float) -> float:
        """Where the next message stands among those of all clients, the lowest first: who has asked for less does not
        wait for those who are ahead."""
        if not self._left_of_turn:
            self._left_of_turn = TURN
            self._order = max(self._allowed_until, now)
        self._left_of_turn -= 1
        return self._order
