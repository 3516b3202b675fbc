"""What the model's clients were told of the events that they asked for, and what follows from it."""

from dataclasses import dataclass, field

from reminder.models.event import Event, Place

Logs = tuple[str, str]
"""The ids of the log before a command and of the one that it was decided in: it may be told later than that."""


@dataclass(eq=False)
class Change:
    """A change of `old` to `new` that was asked for. `logs` is None where nobody was told yet what has become of it."""

    old: Event
    new: Event
    logs: Logs | None = None


@dataclass
class Ledger:
    """What was promised. Changes that were refused are not in it."""

    tried: dict[str, Event] = field(default_factory=dict)
    """The events that were to be added, by id."""
    kept: dict[str, tuple[Event, Logs]] = field(default_factory=dict)
    """Those of them whose `add` returned."""
    refused: set[str] = field(default_factory=set)
    """The ids of those whose `add` was refused."""
    changes: list[Change] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    """By entry, where events were to be, or are, in the log."""

    def present(self, id: str) -> tuple[Event, Logs] | None:
        """What an event that was kept is now for certain, or None."""
        event, logs = self.kept[id]
        while changes := [change for change in self.changes if change.old == event]:
            # Of several changes of what an event was just once, one can be made.
            made = [change for change in changes if change.logs]
            if not made:
                return None
            event, logs = made[0].new, made[0].logs or logs
        return event, logs

    @property
    def acked(self) -> dict[Place, Logs]:
        """The places of which somebody is to be reminded for certain."""
        present = [self.present(id) for id in self.kept]
        return {kept[0].place: kept[1] for kept in present if kept and not kept[0].cancelled}
