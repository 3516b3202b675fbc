#!/usr/bin/env python3
"""Runs the server, as `event-reminder serve` does. Patches the standard library before anything else is imported."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

from reminder.cli import main  # noqa: E402

if __name__ == '__main__':
    sys.exit(main(['serve', *sys.argv[1:]]))
