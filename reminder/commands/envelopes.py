"""Answers, as every door sends them."""

from typing import Any, Protocol

from reminder.services.identity import Identity

Envelope = dict[str, Any]
"""An answer as clients get it: `status`, and `response` (maybe `warning`) or `error`. Can be sent as JSON."""


class Failure(Envelope):
    """The envelope of what was not done. `kind` is the error that was the reason, for doors that tell it otherwise."""

    def __init__(self, error: str, kind: type[Exception]) -> None:
        super().__init__(status='failure', error=error)
        self.kind = kind


class Constant(Envelope):
    """An envelope that is always the same one, so that doors may keep what they have made of it."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # by its identity


def success(response: object, warning: str | None = None) -> Envelope:
    """The envelope of what was done; `warning` is what is odd about it."""
    envelope: Envelope = {'status': 'success', 'response': response}
    if warning is not None:
        envelope['warning'] = warning
    return envelope


class Runs(Protocol):
    """What doors know of the table of commands."""

    def run(self, message: object, identity: Identity) -> Envelope:
        """See `Commands.run`."""
