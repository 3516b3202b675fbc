"""A peer: what the reminder server does, on python-socketio and gevent-websocket as their documents show, in memory.

usage: plain.py PORT. So that measuring needs no whole minutes, `time` has seconds here. SIGUSR2 collects garbage.
"""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import socketio  # noqa: E402
from gevent import pywsgi  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402

sio = socketio.Server(async_mode='gevent')
due: dict[int, list[dict[str, str]]] = {}


def schedule(data: dict[str, Any]) -> dict[str, Any]:
    if not data.get('eventName'):
        return {'status': 'failure', 'error': "'eventName' is required"}
    if not data.get('timeZone'):
        return {'status': 'failure', 'error': "'timeZone' is required"}
    moment = datetime.fromisoformat(data['time']).replace(tzinfo=UTC)
    if moment.timestamp() <= time.time():
        return {'status': 'failure', 'error': f"time='{data['time']}' should be in future"}
    event = {'name': data['eventName'], 'time': moment.isoformat(), '_id': os.urandom(12).hex()}
    due.setdefault(int(moment.timestamp()), []).append(event)
    return {'status': 'success', 'response': event}


def command(sid: str, message: dict[str, Any]) -> dict[str, Any]:
    if message.get('command') != 'scheduleEvent':
        return {'status': 'failure', 'error': 'un-recognized command'}
    return schedule(message['data'])


def remind() -> None:
    while True:
        second = int(time.time()) + 1
        gevent.sleep(second - time.time())
        for event in due.pop(second, []):
            sio.emit('eventReminder', event)


sio.on('command', command)
gevent.spawn(remind)
gevent.signal_handler(signal.SIGUSR2, gc.collect)
address = ('127.0.0.1', int(sys.argv[1]))
pywsgi.WSGIServer(address, socketio.WSGIApp(sio), handler_class=WebSocketHandler).serve_forever()
