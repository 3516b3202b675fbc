"""Where settings are kept: the environment, and a file `.env` in the working directory."""

import os

from dotenv import dotenv_values

from reminder.errors import ConfigError


def read_settings() -> dict[str, str]:
    """The environment, over what a file `.env` in the working directory says; `${}` means nothing there.

    Raises ConfigError for a file that cannot be read.
    """
    try:
        file = dotenv_values('.env', interpolate=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f'.env cannot be read: {error}') from error
    return {name: value for name, value in file.items() if value is not None} | os.environ
