"""Channels: the names by which events go to some clients and not to all."""

import re

from reminder.errors import InvalidInput, shown

MAX_CHANNELS = 100
"""How many channels one client may listen to."""

NAME = re.compile(r'[A-Za-z0-9_.:/-]{1,128}', re.ASCII)
RULE = 'a name is 1 to 128 of the characters A-Z a-z 0-9 _ . : / -'


def channel(value: object) -> str | None:
    """The channel that an event is for; None where it is for everybody. Raises InvalidInput."""
    if value is None:
        return None
    if not is_channel(value):
        raise InvalidInput(f"channel='{_shown(value)}' is invalid: {RULE}")
    return str(value)


def channels(value: object, called: str = 'channels') -> frozenset[str]:
    """The channels that a client wants to listen to, beside what is for everybody. Raises InvalidInput, which names
    them as the client `called` them."""
    if value is None:
        return frozenset()
    if not isinstance(value, list) or len(value) > MAX_CHANNELS:
        raise InvalidInput(f"'{called}' has to be a list of at most {MAX_CHANNELS} names")
    for name in value:
        if not is_channel(name):
            raise InvalidInput(f"'{called}' holds '{_shown(name)}', which is invalid: {RULE}")
    return frozenset(value)


def is_channel(value: object) -> bool:
    """Whether that is the name of a channel."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _shown(value: object) -> str:
    """What is no name, as errors show it: of a list or an object, which may be deep, just that it is one."""
    return '[…]' if isinstance(value, list) else '{…}' if isinstance(value, dict) else shown(str(value))
