"""The composition root: builds the server from its settings, starts and stops it. Everything is wired here."""

import logging
import math
import os
import resource
import socket
import time
from functools import partial
from typing import Any

import gevent
import socketio
from gevent.event import Event
from gevent.threadpool import ThreadPool
from gevent.util import wrap_errors

from reminder.commands import Commands
from reminder.config import Config
from reminder.errors import StartError, StoreUnavailable
from reminder.metrics import Metrics
from reminder.metrics.collector import Sources
from reminder.metrics.commands import CommandFigures, ObservedCommands
from reminder.metrics.store import StoreFigures, observed
from reminder.models.store import open_store
from reminder.scheduler import Scheduler, load_jobs
from reminder.scheduler.clock import Clock
from reminder.scheduler.handlers import Context, subscribe
from reminder.services.backlog import Backlog
from reminder.services.delivery import Delivery
from reminder.services.log import Log
from reminder.services.punctuality import Punctuality
from reminder.services.rates import Rates
from reminder.services.series import Occurrences
from reminder.services.tokens import Tokens
from reminder.specification import asyncapi, openapi
from reminder.web import Web, api, feed, page, probes, stream
from reminder.web import metrics as scrapes
from reminder.websocket import admin, counts
from reminder.websocket.addresses import Shares
from reminder.websocket.broadcast import CatchUp, SocketIOWire
from reminder.websocket.handshake import Server
from reminder.websocket.inbox import BURST, NO_RATE
from reminder.websocket.outbox import most_waiting
from reminder.websocket.payloads import MAX_MESSAGE
from reminder.websocket.server import SocketIOServer
from reminder.websocket.streams import Streams
from reminder.websocket.turns import give_turn
from reminder.websocket.workers import MAX_RUNNING

logger = logging.getLogger(__name__)

BACKLOG = 4_096
"""Connections that the kernel holds until they are accepted; pywsgi's own 128 fails when all clients come at once."""
OPENING = 1.0
"""Seconds that who connects to a starting server is kept waiting for the log to be opened at most; afterwards they are
told to come again."""
STORE_THREADS = 4
"""A store uses a thread for each file it writes or reads at a time."""
SCHEDULER_LATE = 15.0
"""Seconds without a tick after which the scheduler counts as stuck; one that waits for a database takes up to 10."""
GRACE = 2_000
"""ms that a minute may take to be delivered until the server counts as not ready."""
DRAIN = 2.0
"""Seconds that a stopping server gives the commands that it has received."""
LAST_TICK = 1.5
"""Seconds that a stopping server gives a minute that is closed and not written yet, from its first moment on."""


class Application:
    """A whole server. The standard library has to be patched by gevent before this is imported, by the launcher."""

    def __init__(self, config: Config) -> None:
        """Does nothing yet but build. Raises ConfigError for a database url of an unknown kind."""
        self._config = config
        self._threads = ThreadPool(STORE_THREADS)
        self._clock = Clock()
        store_figures = StoreFigures()
        self._store = observed(open_store(config.database_url, self._in_thread), store_figures)
        wire = SocketIOWire()
        occurrences = Occurrences(self._store, config.replay_limit, give_turn)
        self._log = Log(
            self._store,
            wire,
            replay_limit=config.replay_limit,
            recovery_window=round(config.recovery_window * 1000),
            prepare=occurrences.make,
            rest=gevent.sleep,
        )
        self._catch_up = CatchUp()
        self._delivery = Delivery(self._log, wire, pause=give_turn, wake=self._catch_up.wake)
        punctuality, backlog = Punctuality(), Backlog()
        commands = Commands(
            self._store, self._log, self._delivery, occurrences, punctuality, self._clock.now, gevent.sleep
        )
        figures = CommandFigures(commands.names)
        self._server = SocketIOServer(
            config, ObservedCommands(commands, figures, 'socket.io'), self._log, self._delivery, self._clock.now
        )
        if config.admin_ui_username and config.admin_ui_password:
            server_id = f'{socket.gethostname()}:{config.port}'
            admin.instrument(self._server, config.admin_ui_username, config.admin_ui_password, server_id)
        self._streams = Streams(self._server.eio, self._delivery, self._clock.now)
        engine = self._server.eio
        metrics = Metrics(
            Sources(
                database=config.database_url.partition(':')[0],
                commands=figures,
                store=store_figures,
                punctuality=punctuality,
                log=self._log,
                delivery=self._delivery,
                backlog=backlog,
                now=self._clock.now,
                since_tick=lambda: time.monotonic() - self._ticked,
                clients=partial(counts.clients, engine, self._streams),
                most_clients=config.max_connections,
                bytes_queued=partial(counts.bytes_queued, engine, self._streams),
                most_bytes_queued=most_waiting,
                running=lambda: engine.workers.busy,
                most_running=MAX_RUNNING,
                waiting=lambda: engine.workers.waiting,
                ended=engine.counts.ended,
                limits=lambda: {**engine.counts.limits, **commands.refused},
                pause=give_turn,
            )
        )
        tokens = Tokens(config)
        api_commands = ObservedCommands(commands, figures, 'http')
        rates = Rates(config.command_rate_limit or NO_RATE, BURST if config.command_rate_limit else math.inf)
        http = api.Api(api_commands, tokens, engine, rates, MAX_MESSAGE, self._clock.now, engine.counts.limits)
        calendars = Shares(1 + feed.WAITING)
        web = Web(
            page.routes(),
            api.routes(http, engine.origins),
            probes.routes(self.health, {'/asyncapi.json': asyncapi.document(), '/openapi.json': openapi.document()}),
            scrapes.routes(metrics.expose, tokens, self._clock.now),
            stream.routes(self._log, tokens, self._streams, self._server.eio.origins, self._clock.now),
            feed.routes(
                feed.Feed(self._store, give_turn, gevent.sleep),
                tokens,
                self._clock.now,
                lambda environ: calendars.one_more(engine.address(environ)),
            ),
        )
        self._http = Server(
            self._server.eio,
            (config.host, config.port),
            socketio.WSGIApp(self._server, web),
            backlog=BACKLOG,
            log=None,
            error_log=logging.getLogger('reminder.http'),
        )
        self._http.logger = logging.getLogger('reminder.http')
        self._scheduler = Scheduler(load_jobs())
        subscribe(
            self._scheduler,
            Context(
                self._store,
                self._log,
                self._delivery,
                self._clock,
                gevent.sleep,
                config.retention_days,
                punctuality,
                backlog,
            ),
        )
        self._stopping = Event()
        self._ticked = time.monotonic()
        self._scheduling: gevent.Greenlet | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; of interest where the setting is 0."""
        return int(self._http.server_port)

    def start(self) -> None:
        """Listens, and delivers from now on. A database that is not there is asked again each second.

        Raises StartError where the address is taken or not to be had.
        """
        for warning in self._config.warnings:
            logger.warning('%(problem)s', {'event': 'settings', 'problem': warning})
        self._raise_open_files()
        try:
            self._http.start()
        except OSError as exc:
            # gevent puts the address into `strerror`; a name that is not found has a number below 0.
            reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
            raise StartError(f'cannot listen on {self._config.host}:{self._config.port}: {reason}') from exc
        self._http.stop_accepting()
        self._catch_up.start(self._delivery)
        self._scheduling = gevent.spawn(self._scheduler.run, self._wait)
        opened_by = time.monotonic() + OPENING
        while self._log.record is None and time.monotonic() < opened_by:
            gevent.sleep(0.005)
        self._http.start_accepting()
        logger.info(
            'listening on %(url)s, events in %(database)s',
            {
                'event': 'listening',
                'url': f'http://{self._config.host}:{self.port}',
                'database': self._config.database_for_logs,
            },
        )

    def stop(self) -> None:
        """Stops accepting, finishes what was received, closes the clients so that they connect elsewhere. Under 5 s."""
        logger.info('stopping', {'event': 'stopping'})
        begun = time.monotonic()
        self._stopping.set()
        # Still listening, as a polling client may need a new connection to fetch its answers.
        self._server.eio.drain(DRAIN)
        self._http.close()
        if self._scheduling is not None:
            self._scheduling.join(max(0.0, begun + LAST_TICK - time.monotonic()))
            self._scheduling.kill()
            self._catch_up.stop()
        self._streams.stop()
        self._server.eio.stop()
        self._http.stop(timeout=0.5)
        self._store.close()
        self._threads.kill()
        logger.info('stopped', {'event': 'stopped'})

    def health(self) -> dict[str, str]:
        """What keeps the server from being ready, by part; {} where it is ready."""
        problems = {}
        if self._stopping.is_set():
            problems['server'] = 'is stopping'
        try:
            self._store.record()
            if self._log.record is None:
                problems['database'] = 'the log is being opened'
            elif self._log.due(self._clock.now() - GRACE):
                problems['database'] = 'does not take what is due'
        except StoreUnavailable as error:
            logger.debug('not ready: %(error)s', {'event': 'not_ready', 'error': str(error)})
            problems['database'] = 'does not answer'
        if time.monotonic() - self._ticked > SCHEDULER_LATE:
            problems['scheduler'] = 'does not tick'
        return problems

    def _wait(self, seconds: float) -> bool:
        self._ticked = time.monotonic()
        return bool(self._stopping.wait(seconds))

    def _in_thread(self, function: Any, *arguments: Any) -> Any:
        # A pool's thread prints what it raises, beside raising it here.
        result = self._threads.apply(wrap_errors(Exception, function), arguments)
        if isinstance(result, Exception):
            raise result
        return result

    def _raise_open_files(self) -> None:
        """Each client is an open file: takes as many as the system allows this process."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard < self._config.max_connections:
            logger.warning(
                'MAX_CONNECTIONS is %(wanted)d, but only %(files)d files may be open',
                {'event': 'too_few_files', 'wanted': self._config.max_connections, 'files': hard},
            )
