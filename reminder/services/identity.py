"""Who is connected, and what they may do."""

from dataclasses import dataclass

LISTEN = 'listen'
SCHEDULE = 'schedule'
MANAGE = 'manage'
SCOPES = frozenset({LISTEN, SCHEDULE, MANAGE})
"""What can be allowed: to get reminders, to schedule events, and to change or cancel those of others."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of somebody. `expires` is the instant (ms, UTC) from which it no longer holds; None is never."""

    scopes: frozenset[str]
    subject: str | None = None
    expires: int | None = None

    def has_expired(self, now: int) -> bool:
        return self.expires is not None and self.expires <= now


EVERYBODY = Identity(SCOPES)
"""Whoever connects to a server that asks for no tokens."""
