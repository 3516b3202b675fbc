"""The command `event-reminder token`, which makes tokens for the clients of a server that asks for them."""

import time
from pathlib import Path

from reminder.config import Config
from reminder.errors import ConfigError
from reminder.services.identity import Identity
from reminder.services.tokens import make_token
from reminder.settings import read_settings


def token(
    scopes: frozenset[str], channels: list[str] | None, lifetime: int, subject: str | None, private_key: Path | None
) -> None:
    """Prints a token of that lifetime (s), by the server's own settings. Raises ConfigError."""
    try:
        key = None if private_key is None else private_key.read_bytes()
    except OSError as error:
        raise ConfigError(f'--private-key {private_key} cannot be read: {error.strerror}') from error
    now = time.time_ns() // 1_000_000
    seen = None if channels is None else frozenset(channels)
    identity = Identity(scopes, subject, now + lifetime * 1000, seen)
    print(make_token(Config.from_env(read_settings()), identity, now, key))
