"""The errors of this project, by who has to act on them."""

SHOWN_LENGTH = 100
"""Characters of what a client sent that its error repeats."""


class ReminderError(Exception):
    """Base of all errors raised on purpose; its text is fit for the person it concerns and holds no secret."""


class ConfigError(ReminderError):
    """A setting is wrong. The text is one line that names the setting. For the operator; ends the start."""


class StartError(ReminderError):
    """The server cannot start although its settings are well-formed (a busy port, ...). For the operator."""


class InvalidInput(ReminderError):
    """A client asked for something that cannot be done. The text names the field and is sent to that client."""


class UnknownCommand(InvalidInput):
    """There is no command of that name."""


class NotAuthenticated(InvalidInput):
    """Nobody knows who asks: their token is missing, wrong, or has expired."""


class NotAllowed(InvalidInput):
    """Who asks may not: their token lacks a scope, or a channel."""


class Busy(InvalidInput):
    """Too many ask for the same. Trying again later helps."""

    def __init__(self) -> None:
        super().__init__('too many ask for the same just now; please try again later')


class MinuteClosed(ReminderError):
    """An event came too late for its minute: the log's past never changes. The store kept nothing of it."""


class Changed(ReminderError):
    """What was to be changed is not any longer what it was when it was looked at. Look again, and try again."""


class StoreUnavailable(ReminderError):
    """The database did not do what was asked, now. Trying again later may help. The text holds no credentials."""


def shown(value: str) -> str:
    """`value` as it can be shown in any error: not too long, and without surrogates, which UTF-8 cannot hold."""
    cut = value if len(value) <= SHOWN_LENGTH else f'{value[:SHOWN_LENGTH]}…'
    return cut.encode(errors='replace').decode()
