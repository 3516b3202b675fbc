"""The floor: the least that any server has to do, in a bare epoll loop. usage: floor.py PORT

It takes the handshakes and schedules that the load sends, understands nothing else, and when events are due it sends
bytes that were made before, with one send() to each client. So that measuring needs no whole minutes, `time` has
seconds here. SIGUSR2 collects garbage.
"""

import base64
import gc
import hashlib
import json
import math
import os
import select
import signal
import socket
import sys
import time
from datetime import UTC, datetime

GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
READY = 0.2
"""Seconds before events are due that their bytes are made ready, as the reminder server closes a minute then."""


def frame(text: str) -> bytes:
    payload = text.encode()
    length = len(payload)
    return b'\x81' + (bytes((length,)) if length < 126 else b'\x7e' + length.to_bytes(2, 'big')) + payload


class Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = b''
        self.waiting: memoryview = memoryview(b'')
        self.upgraded = False


class Floor:
    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(('127.0.0.1', port), backlog=4096)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener, select.EPOLLIN)
        self.clients: dict[int, Client] = {}
        self.due: dict[float, list[bytes]] = {}

    def run(self) -> None:
        while True:
            soonest = min(self.due, default=math.inf)
            if soonest - time.time() < READY:
                self.remind(soonest)
                continue
            for number, events in self.epoll.poll(min(max(0, soonest - READY - time.time()), 1)):
                if number == self.listener.fileno():
                    self.accept()
                elif events & select.EPOLLOUT:
                    self.write(self.clients[number], b'')
                else:
                    self.read(number, self.clients[number])

    def remind(self, instant: float) -> None:
        ready = b''.join(self.due.pop(instant))
        clients = list(self.clients.values())
        time.sleep(max(0, instant - time.time()))
        for client in clients:
            self.write(client, ready)

    def accept(self) -> None:
        sock, _ = self.listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.epoll.register(sock, select.EPOLLIN)
        self.clients[sock.fileno()] = Client(sock)

    def write(self, client: Client, data: bytes) -> None:
        waiting = client.waiting
        left = memoryview(waiting.tobytes() + data) if waiting and data else waiting or memoryview(data)
        try:
            left = left[client.sock.send(left) :]
        except BlockingIOError:
            pass
        except OSError:
            return
        if bool(waiting) != bool(left):
            self.epoll.modify(client.sock, select.EPOLLIN | (select.EPOLLOUT if left else 0))
        client.waiting = left

    def read(self, number: int, client: Client) -> None:
        try:
            data = client.sock.recv(65536)
        except OSError:
            data = b''
        if not data:
            del self.clients[number]
            client.sock.close()
        elif client.upgraded:
            self.take_frames(client, data)
        else:
            key = data.partition(b'Sec-WebSocket-Key: ')[2].partition(b'\r\n')[0]
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
            client.upgraded = True
            handshake = {'sid': os.urandom(12).hex(), 'upgrades': [], 'pingInterval': 25000, 'pingTimeout': 20000}
            self.write(
                client,
                b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                b'Sec-WebSocket-Accept: ' + accept + b'\r\n\r\n' + frame('0' + json.dumps(handshake)),
            )

    def take_frames(self, client: Client, data: bytes) -> None:
        data = client.received + data
        at, answers = 0, b''
        while len(data) - at >= 2:
            length, head = data[at + 1] & 0x7F, 6
            if length == 126:
                length, head = int.from_bytes(data[at + 2 : at + 4], 'big'), 8
            end = at + head + length
            if len(data) < end:
                break
            mask = data[at + head - 4 : at + head] * (length // 4 + 1)
            masked = data[at + head : end]
            text = (int.from_bytes(masked) ^ int.from_bytes(mask[:length])).to_bytes(length)
            answers += self.answer(text.decode())
            at = end
        client.received = data[at:]
        if answers:
            self.write(client, answers)

    def answer(self, packet: str) -> bytes:
        if packet.startswith('40'):
            return frame(f'40{{"sid":"{os.urandom(12).hex()}"}}')
        if not packet.startswith('42'):
            return b''
        number, bracket, rest = packet[2:].partition('[')
        data = json.loads(bracket + rest)[1]['data']
        moment = datetime.fromisoformat(data['time']).replace(tzinfo=UTC)
        event = json.dumps({'name': data['eventName'], 'time': moment.isoformat(), '_id': os.urandom(12).hex()})
        self.due.setdefault(moment.timestamp(), []).append(frame(f'42["eventReminder",{event}]'))
        return frame(f'43{number}[{{"status":"success","response":{event}}}]')


if __name__ == '__main__':
    signal.signal(signal.SIGUSR2, lambda *_: gc.collect())
    Floor(int(sys.argv[1])).run()
