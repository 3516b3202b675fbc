"""The README's lines for a shell, run word for word against a server: one schedules, one listens."""

import json
import re
from pathlib import Path

from tests.documents import Reader
from tests.faults import ClockedServer
from tests.server import ROOT, millis

LINES = re.findall('^    (curl .*)', (ROOT / 'README.rst').read_text(), re.M)
REMINDER = {'name': 'Tea', 'time': '2030-01-31T08:30:00.000Z', '_id': '6b49d216f28a0dbf1073d582'}


def test_what_one_schedules_the_other_hears(tmp_path: Path) -> None:
    schedule, listen = LINES
    # Given a server in the minute before the README's
    with ClockedServer(tmp_path, clock='2030-01-31 08:29:10') as server, Reader(server) as reader:
        server.start()
        # When an event is scheduled, and somebody listens
        reader.run(schedule, json.dumps({'status': 'success', 'response': REMINDER}))
        reader.run(listen, 'event: cursor', stays=True)
        # Then the reminder comes at its minute
        server.set_clock(millis('2030-01-31 08:29:59'))
        data = json.dumps(REMINDER, separators=(',', ':'))
        reader.wait_for(f'event: eventReminder\nid: ...\ndata: {data}')
