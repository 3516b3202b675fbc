import sys
from datetime import UTC, datetime, timedelta

import socketio

client = socketio.Client()
client.on('eventReminder', lambda event, *_: print('reminder:', event, flush=True))
client.connect(sys.argv[1] if len(sys.argv) > 1 else 'http://127.0.0.1:3000')
time = datetime.now(UTC) + timedelta(seconds=62)
data = {'eventName': 'Stand-up', 'time': f'{time:%Y-%m-%d %H:%M}', 'timeZone': 'UTC'}
print('scheduled:', client.call('command', {'command': 'scheduleEvent', 'data': data}), flush=True)
client.wait()
