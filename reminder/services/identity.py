"""Who is connected, and what they may do."""

from dataclasses import dataclass

from reminder.errors import NotAllowed

LISTEN = 'listen'
SCHEDULE = 'schedule'
MANAGE = 'manage'
SCOPES = frozenset({LISTEN, SCHEDULE, MANAGE})
"""What can be allowed: to get reminders, to schedule events, and to change or cancel those of others."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of somebody. `expires` is the instant (ms, UTC) from which it no longer holds; None is never.

    `channels` are those that they may know of, beside what has none; None is all.
    """

    scopes: frozenset[str]
    subject: str | None = None
    expires: int | None = None
    channels: frozenset[str] | None = None

    def may_see(self, channel: str | None) -> bool:
        return channel is None or self.channels is None or channel in self.channels

    def allow(self, channels: frozenset[str]) -> frozenset[str]:
        """These channels, all of which they may know of. Raises NotAllowed otherwise."""
        for channel in sorted(channels):
            if not self.may_see(channel):
                raise NotAllowed(f"channel='{channel}' is not among the channels of your token")
        return channels

    def has_expired(self, now: int) -> bool:
        return self.expires is not None and self.expires <= now


EVERYBODY = Identity(SCOPES)
"""Whoever connects to a server that asks for no tokens."""
