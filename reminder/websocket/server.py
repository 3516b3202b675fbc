"""Socket.IO 5 on python-socketio's server class: it parses, calls the command table or gives a connection its place in
the log, and answers. It decides nothing else.

What is overridden and why. The packet class: the library evaluates any digits and JSON for any type, and collects
binary attachments, which no command takes. The message handler (registered through the library's public `on`): answers
to CONNECT carry a `pid`; unknown namespaces and reserved event names are answered as the protocol document says. The
manager: it searches every room for each client that leaves, and tells those who are not let in yet.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import socketio
from socketio import packet as sio_packet

from reminder.commands.envelopes import Constant, Runs
from reminder.config import Config
from reminder.errors import InvalidInput, StoreUnavailable
from reminder.services.channels import channels as parse_channels
from reminder.services.delivery import Delivery
from reminder.services.identity import LISTEN, Identity
from reminder.services.log import Log
from reminder.services.tokens import Tokens
from reminder.websocket import recovery
from reminder.websocket.broadcast import Connection
from reminder.websocket.counts import EXPIRED
from reminder.websocket.engine import Engine
from reminder.websocket.expiry import Expiry
from reminder.websocket.session import Session

logger = logging.getLogger(__name__)

_HEAD = re.compile(r'(?:([0-4])|([56])([0-9]{1,3})-)(?:(/[^,]*)(?:,|$))?([0-9]{0,20})', re.ASCII)
_RESERVED = {'connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'}


_BINARY = sio_packet.BINARY_EVENT - sio_packet.EVENT


def _no_constant(name: str) -> None:
    raise ValueError(f'{name} is no JSON')


def _loads_binary(text: str, attachments: int) -> Any:
    """JSON with `b''` in the places of attachments. Raises ValueError where it is none, or an attachment is none."""

    def put_in(found: dict[str, Any]) -> dict[str, Any] | bytes:
        if found.get('_placeholder') is not True:
            return found
        number = found.get('num')
        if type(number) is not int or not 0 <= number < attachments:
            raise ValueError('a place of no attachment')
        return b''

    return json.loads(text, object_hook=put_in, parse_constant=_no_constant)


class _Json:
    """JSON with an encoder and a decoder that are made once; the module's functions make new ones for each call."""

    _encoder = json.JSONEncoder(separators=(',', ':'))
    _decoder = json.JSONDecoder(parse_constant=_no_constant)
    loads = _decoder.decode

    @classmethod
    def dumps(cls, data: object, separators: tuple[str, str]) -> str:
        """`data` as JSON. What the library gives as `separators` is what the encoder was made with."""
        if isinstance(data, list) and data and isinstance(data[0], Constant):
            return cls._once(data[0])
        return cls._encoder.encode(data)

    @staticmethod
    @cache
    def _once(answer: Constant) -> str:
        """The list of zones, which anyone may ask for as often as the rate allows, takes longer than most commands."""
        return _Json._encoder.encode([answer])


class Packet(sio_packet.Packet):  # type: ignore[misc]
    """A Socket.IO packet. No command takes binary data: attachments are counted, so that they can be thrown away, and
    `b''` stands where they were, which is refused wherever a command expects something."""

    uses_binary_events = False
    json = _Json

    def decode(self, encoded_packet: str) -> int:
        """Parses strictly. Raises ValueError (RecursionError, by JSON) for anything that the protocol does not know."""
        head = _HEAD.match(encoded_packet)
        if head is None:
            raise ValueError('no packet of a known type')
        text = encoded_packet[head.end() :]
        plain, binary, attachments, namespace, id = head.groups()
        self.packet_type = int(plain) if plain else int(binary) - _BINARY
        self.namespace = namespace.partition('?')[0] if namespace else '/'
        self.id = int(id) if id else None
        count = int(attachments or 0)
        self.data = (_loads_binary(text, count) if count else self.json.loads(text)) if text else None
        if not self._is_valid(bool(text)):
            raise ValueError('the data does not fit the type')
        return count

    def _is_valid(self, has_data: bool) -> bool:
        data = self.data
        if self.packet_type == sio_packet.CONNECT:
            return self.id is None and (not has_data or isinstance(data, dict))
        if self.packet_type == sio_packet.DISCONNECT:
            return self.id is None and not has_data
        if self.packet_type == sio_packet.EVENT:
            return isinstance(data, list) and len(data) > 0 and isinstance(data[0], str) and data[0] not in _RESERVED
        return self.packet_type == sio_packet.ACK and self.id is not None and isinstance(data, list)


class Manager(socketio.Manager):  # type: ignore[misc]
    """Who is connected, without rooms: whom a reminder goes to is the log's readers' own business."""

    def basic_enter_room(self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None) -> None:
        """Every client would have a room of its own, all of which are searched when it leaves. In other namespaces,
        which are the library's, there are few clients, and it sends to each by its room."""
        if room != sid or namespace != '/':
            super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)

    def get_participants(self, namespace: str, room: str | None) -> Iterator[tuple[str, str]]:
        """Those of a room who are let in: the library counts in whoever asks to be, while that is being decided."""
        for sid, eio_sid in super().get_participants(namespace, room):
            if not self.is_pre_connected(sid, namespace):
                yield sid, eio_sid


def _quiet_logger(name: str) -> logging.Logger:
    """The library says each packet at level info, with its content."""
    library = logging.getLogger(f'reminder.{name}')
    library.setLevel(logging.WARNING)
    return library


class SocketIOServer(socketio.Server):  # type: ignore[misc]
    """The server that clients talk to."""

    def __init__(self, config: Config, commands: Runs, log: Log, delivery: Delivery, now: Callable[[], int]) -> None:
        super().__init__(
            client_manager=Manager(),
            serializer=Packet,
            logger=_quiet_logger('socketio'),
            engineio_logger=_quiet_logger('engineio'),
            # The session's window has put each message into a greenlet of its own.
            async_handlers=False,
            ping_interval=config.ping_interval,
            ping_timeout=config.ping_timeout,
            max_connections=config.max_connections,
            trusted_proxies=config.trusted_proxies,
            rate_limit=config.command_rate_limit,
            origins=config.cors_origins,
        )
        self.eio: Engine
        self._commands = commands
        self._log = log
        self._delivery = delivery
        self._now = now
        self._tokens = Tokens(config)
        self._identities: dict[str, Identity] = {}
        """Of each client in the default namespace: at most one for each session."""
        self._expiry = Expiry(self.eio.deadlines, now, self._expire)
        self._connections: dict[str, Connection] = {}
        """Those who get reminders: at most one for each session."""
        self._attachments: dict[str, int] = {}
        """How many attachments a session has announced and not sent yet, where any."""
        self.eio.on('message', self._receive)
        self.on('command', self._command)
        self.on('disconnect', self._left)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def _command(self, sid: str, *arguments: Any) -> dict[str, Any]:
        """Answers a command, whatever and however many arguments it came with."""
        return self._commands.run(arguments[0] if arguments else None, self._identities[sid])

    def _receive(self, eio_sid: str, message: str | None) -> None:
        """Takes a Socket.IO packet; None is an attachment. Raises ValueError for one that ends the session."""
        awaited = self._attachments.pop(eio_sid, 0)
        if (message is None) != (awaited > 0):
            raise ValueError('an attachment is missing, or belongs to nothing')
        if message == '':
            raise ValueError('empty packet')
        if message is None:
            self._await_attachments(eio_sid, awaited - 1)
            return
        packet = self.packet_class(encoded_packet=message)
        self._await_attachments(eio_sid, packet.attachment_count)
        connected = self.manager.sid_from_eio_sid(eio_sid, packet.namespace) is not None
        if packet.packet_type == sio_packet.CONNECT:
            if connected:
                raise ValueError('connected already')
            self._join(eio_sid, packet)
        elif not connected:
            raise ValueError('not connected to the namespace')
        elif packet.packet_type == sio_packet.EVENT:
            self._handle_event(eio_sid, packet.namespace, packet.id, packet.data)
        elif packet.packet_type == sio_packet.DISCONNECT:
            self._handle_disconnect(eio_sid, packet.namespace, self.reason.CLIENT_DISCONNECT)
            self._await_return(eio_sid)

    def _await_attachments(self, eio_sid: str, count: int) -> None:
        if count:
            self._attachments[eio_sid] = count

    def _join(self, eio_sid: str, packet: Packet) -> None:
        """Answers CONNECT, and gives a connection that may listen its place in the log."""
        session = self.eio.sockets.get(eio_sid)
        if session is None:
            return
        if packet.namespace != '/':
            self._join_other(session, packet)
            return
        try:
            now, auth = self._now(), packet.data or {}
            identity = self._tokens.identify(auth.get('token'), now)
            channels = identity.allow(parse_channels(auth.get('channels')))
            begin = (
                recovery.start(self._log, auth, now, channels, identity.channels) if LISTEN in identity.scopes else None
            )
        except InvalidInput as error:
            self._refuse(eio_sid, packet.namespace, str(error))
            return
        except StoreUnavailable:
            # A refusal would tell the client to give up; a closed connection, to come back and ask again.
            session.close(reason=self.reason.TRANSPORT_ERROR)
            return
        if session.closed:
            return
        sid = self.manager.connect(eio_sid, packet.namespace)
        self._identities[sid] = identity
        if identity.expires is not None:
            self._expiry.add(sid, identity.expires)
        answer = {'sid': sid} if begin is None else {'sid': sid, 'pid': begin[1]}
        connected = b'4' + self.packet_class(sio_packet.CONNECT, answer).encode().encode()
        session.established = True
        if begin is None:
            session.write(connected)
        else:
            connection = self._connections[sid] = Connection(session, channels)
            session.on_idle = partial(self._delivery.ready, connection)
            self._delivery.join(connection, begin[0], [connected])

    def _join_other(self, session: Session, packet: Packet) -> None:
        """Leaves a CONNECT to the library, if somebody has registered handlers for its namespace (see `admin`)."""
        if packet.namespace not in self.handlers:
            self._refuse(session.sid, packet.namespace, 'Invalid namespace')
            return
        self._handle_connect(session.sid, packet.namespace, packet.data)
        session.established = session.established or self.manager.is_connected(
            self.manager.sid_from_eio_sid(session.sid, packet.namespace), packet.namespace
        )
        if session.closed:  # while it was being decided, when the library does not see it yet
            self._handle_disconnect(session.sid, packet.namespace)

    def _await_return(self, eio_sid: str) -> None:
        """Has a session end that is in no namespace any more, unless its client connects again soon."""
        session = self.eio.sockets.get(eio_sid)
        namespaces = self.manager.get_namespaces()
        if session is not None and all(self.manager.sid_from_eio_sid(eio_sid, name) is None for name in namespaces):
            session.await_connect()

    def _expire(self, sid: str) -> None:
        """Ends a connection whose token has expired as a broken network would: its client comes back, with a new token
        if it has got one, while a DISCONNECT would keep it away for good."""
        session = self.eio.sockets.get(self.manager.eio_sid_from_sid(sid, '/'))
        if session is not None:
            session.close(reason=EXPIRED)

    def _refuse(self, eio_sid: str, namespace: str, message: str) -> None:
        self._send_packet(eio_sid, self.packet_class(sio_packet.CONNECT_ERROR, {'message': message}, namespace))

    def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self._attachments.pop(eio_sid, None)
        super()._handle_eio_disconnect(eio_sid, reason)

    def _left(self, sid: str, reason: str) -> None:
        """A client disconnected, or its connection broke."""
        self._identities.pop(sid, None)
        self._expiry.discard(sid)
        connection = self._connections.pop(sid, None)
        if connection is not None:
            connection.session.on_idle = None
            self._delivery.leave(connection)
