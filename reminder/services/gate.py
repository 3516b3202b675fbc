"""Gates before work that takes long, so that those who ask for much of it leave enough for the others."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Lock

from reminder.errors import Busy

CLIENT: ContextVar[object] = ContextVar('client', default=None)
"""Whose call this is: who waits most gives way to the others."""


class _Comer:
    """Somebody who waits."""

    def __init__(self) -> None:
        self.told = Event()
        self.refused = False


class Gate:
    """Lets in a few at a time; a few more may wait. Clients take turns, and who waits least is refused last."""

    def __init__(
        self,
        inside: int,
        waiting: int,
        rest: float = 0.0,
        sleep: Callable[[float], None] = lambda seconds: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`inside` are let in at a time, and so many more may wait. A place that becomes free rests `rest` times as
        long as it was taken: who takes it next sleeps so many seconds before, while who had it is on his way."""
        self._lock = Lock()
        self._free = inside
        self._most_waiting = waiting
        self._waiting: dict[object, deque[_Comer]] = {}
        """Those who wait, by client, whose turn is next first."""
        self._patient: deque[_Comer] = deque()
        """Those who cannot be refused, who are first: at most as many as there are workers."""
        self._rested = deque([-math.inf] * inside)
        """From when on the free places may be taken."""
        self._rest = rest
        self._sleep = sleep
        self._clock = clock
        self.refused = 0
        """How many were not let in."""

    @contextmanager
    def pass_through(self, patient: bool = False) -> Iterator[None]:
        """Waits until it is one's turn. Raises Busy where too many wait already, but not for who is `patient`: whoever
        has changed something by now must not be told that it has failed."""
        self._enter(patient)
        try:
            with self._rested_place():
                yield
        finally:
            with self._lock:
                self._leave()

    def _enter(self, patient: bool) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            comer = _Comer()
            if patient:
                self._patient.append(comer)
            else:
                self._queue(comer, CLIENT.get())
        try:
            comer.told.wait()
        except BaseException:  # a greenlet is killed
            with self._lock:
                self._give_up(comer)
            raise
        if comer.refused:
            raise Busy

    def _queue(self, comer: _Comer, client: object) -> None:
        """Has somebody wait; where too many do already, instead of one of the client of whom most do. Raises Busy."""
        if sum(map(len, self._waiting.values())) >= self._most_waiting:
            self.refused += 1
            greedy = max(self._waiting, key=lambda one: len(self._waiting[one]), default=client)
            if len(self._waiting.get(greedy, ())) <= len(self._waiting.get(client, ())) + 1:
                raise Busy
            other = self._waiting[greedy].pop()
            other.refused = True
            other.told.set()
        self._waiting.setdefault(client, deque()).append(comer)

    def _leave(self) -> None:
        """Gives the place to the next one."""
        if self._patient:
            self._patient.popleft().told.set()
        elif self._waiting:
            client = next(iter(self._waiting))
            comers = self._waiting.pop(client)
            comers.popleft().told.set()
            if comers:
                self._waiting[client] = comers  # behind the others
        else:
            self._free += 1

    def _give_up(self, comer: _Comer) -> None:
        if comer.refused:
            return
        if comer.told.is_set():
            self._leave()
            return
        for comers in (self._patient, *self._waiting.values()):
            if comer in comers:
                comers.remove(comer)
        self._waiting = {client: comers for client, comers in self._waiting.items() if comers}

    @contextmanager
    def _rested_place(self) -> Iterator[None]:
        rested = self._rested.popleft()
        try:
            if (left := rested - self._clock()) > 0:
                self._sleep(left)
            begun = self._clock()
            try:
                yield
            finally:
                end = self._clock()
                rested = end + self._rest * (end - begun)
        finally:
            self._rested.append(rested)
