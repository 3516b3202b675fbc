#!/usr/bin/env python3
"""Takes pictures of the page with some reminders: docs/page.png, which the README shows, and others for who looks on.

Needs faketime, Chromium, and npm ci in tests/page.
"""

import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import socketio
from fault_suite.databases import Sqlite
from fault_suite.program import ROOT, SERVER, supervise
from fault_suite.servers import Clock, Server, ServerError

MODULES = ROOT / 'tests' / 'page' / 'node_modules'
BEGIN = 1_800_003_470.0
"""When it is on the pictures, at first: 08:57:50 UTC on 15 January 2027."""
PLACE = '2027-01-15T08:57:55Z'
"""Where the pages have left off: before the first event, which they have missed."""
EVENTS = [
    ('Water is boiling', '2027-01-15 09:58', 'Europe/Berlin', {}),
    ('Tea is ready', '2027-01-15 10:00', 'Europe/Berlin', {}),
    ('Stand-up', '2027-01-15 10:30', 'Europe/Berlin', {'channel': 'team/web'}),
    ('Train to Hamburg', '2027-01-15 17:48', 'Europe/Berlin', {}),
    ('Backup', '2027-01-16 02:30', 'Europe/Berlin', {'repeat': 'FREQ=DAILY'}),
    ('Water the plants', '2027-01-16 08:00', 'Europe/Berlin', {'repeat': 'FREQ=WEEKLY'}),
    ('Board meeting', '2027-01-19 14:00', 'America/New_York', {}),
    ('Release 2.0', '2027-02-01 17:00', 'Asia/Tokyo', {'channel': 'team/web'}),
]


def main() -> int:
    """Takes the pictures; the first argument is a folder for all of them. Returns the exit code."""
    chromium = shutil.which('chromium')
    if chromium is None:
        sys.exit('screenshot.py: chromium is missing')
    pictures = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    return supervise('screenshot', partial(_run, chromium, pictures))


def _run(chromium: str, pictures: Path | None, folder: Path) -> tuple[int, bool]:
    pictures = pictures or folder
    database, clock = Sqlite(folder / 'events.db'), Clock(folder, governs=True)
    clock.step(BEGIN - time.time())
    server = Server('A', SERVER, folder, clock, {'DATABASE_URL': database.url})
    try:
        server.start()
        server.wait_until_ready()
        url = f'http://127.0.0.1:{server.port}'
        with socketio.SimpleClient() as client:
            client.connect(url)
            for name, when, zone, more in EVENTS:
                data = {'eventName': name, 'time': when, 'timeZone': zone, **more}
                client.call('command', {'command': 'scheduleEvent', 'data': data})
        _next_minute(clock)
        _next_minute(clock)
        script = Path(__file__).with_suffix('.mjs')
        command = [str(part) for part in ('node', script, MODULES, url, pictures / 'page', chromium, PLACE)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as browser:
            assert browser.stdout is not None
            if browser.stdout.readline():  # the pages are open
                _next_minute(clock)
    finally:
        server.clean_up()
    if browser.returncode:
        raise ServerError('the browser has failed')
    shutil.copy(pictures / 'page-light.png', ROOT / 'docs' / 'page.png')
    return 0, False


def _next_minute(clock: Clock) -> None:
    clock.hasten(1)
    time.sleep(1.5)


if __name__ == '__main__':
    sys.exit(main())
