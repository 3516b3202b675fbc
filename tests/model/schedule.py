"""A scheduler of tasks on virtual time. Tasks are greenlets that run one at a time and switch only where they block.

What runs next is the caller's choice, so a run can be repeated exactly, and no test depends on luck with threads.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from reminder.errors import StoreUnavailable

T = TypeVar('T')


class Fate(Enum):
    """What becomes of a step to the database."""

    DONE = auto()
    LOST = auto()  # it never gets there
    UNANSWERED = auto()  # it is done, but whoever asked is told that it failed
    LATE = auto()  # whoever asked is told that it failed, and it is done later
    ANSWERED_LATE = auto()


class Task:
    """A greenlet, and what it waits for."""

    def __init__(self, owner: object, greenlet: Any) -> None:
        self.owner = owner
        self.greenlet = greenlet
        self.is_ready: Callable[[], bool] = _at_once
        self.wakes: int | None = None
        self.step: Callable[[], Any] | None = None
        self.held = False


def _at_once() -> bool:
    return True


class Schedule:
    """Runs tasks. `flow` lets all go on in turn, except those that are held; `run` lets one go on."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.tasks: dict[Task, None] = {}
        self.failing = 0
        """How many steps to the database fail from now on."""
        self.late: list[Callable[[], Any]] = []
        """Steps whose callers are told already that they failed, or are no more."""
        self._current: Task | None = None
        self._main = getcurrent()

    # -- from outside the tasks ---------------------------------------------------------------------------------

    def spawn(self, owner: object, function: Callable[..., Any], *args: Any) -> Task:
        """A new task, which runs when it is its turn."""
        task = Task(owner, greenlet(lambda fate: function(*args), self._main))
        self.tasks[task] = None
        return task

    def runnable(self) -> list[Task]:
        """The tasks that can go on, those first that have waited longest."""
        return [task for task in self.tasks if task.is_ready()]

    def run(self, task: Task, fate: Fate = Fate.DONE) -> None:
        """Lets a task go on until it blocks again or ends."""
        self._current = task
        del self.tasks[task]
        task.greenlet.switch(fate)
        if not task.greenlet.dead:
            self.tasks[task] = None

    def flow(self, turns: int = 1) -> None:
        """Lets those go on that have waited longest, and time pass where all wait for it."""
        for _ in range(turns):
            task = next((task for task in self.tasks if not task.held and task.is_ready()), None)
            if task is not None:
                self.run(task)
            else:
                self.pass_time()

    def pass_time(self) -> None:
        """Moves on to when the next task wakes."""
        wakes = [task.wakes for task in self.tasks if task.wakes is not None and not task.held]
        if wakes:
            self.now = max(self.now, min(wakes))

    def kill(self, owner: object, late: bool) -> None:
        """Ends all tasks of `owner` where they are. What they have asked the database for may be done `late`."""
        for task in [task for task in self.tasks if task.owner is owner]:
            del self.tasks[task]
            if task.step is not None and late:
                self.late.append(task.step)
            task.greenlet.throw(GreenletExit)

    # -- from within a task -------------------------------------------------------------------------------------

    def block(self, is_ready: Callable[[], bool] = _at_once, *, wakes: int | None = None, step: Any = None) -> Fate:
        """Lets others run until this task is chosen again, which it can be when `is_ready`."""
        task = self._current
        assert task is not None
        task.is_ready, task.wakes, task.step = is_ready, wakes, step
        fate: Fate = self._main.switch()
        return fate

    def sleep(self, wakes: int) -> None:
        """Blocks until that instant, or later."""
        self.block(lambda: self.now >= wakes, wakes=wakes)

    def call(self, step: Callable[[], T]) -> T:
        """Takes a step to the database: see `tests.memory.Call`."""
        fate = self.block(step=step)
        if self.failing or fate is Fate.LOST:
            self.failing = max(0, self.failing - 1)
            raise StoreUnavailable('lost')
        if fate is Fate.LATE:
            self.late.append(step)
            raise StoreUnavailable('late')
        result = step()
        if fate is Fate.ANSWERED_LATE:
            self.block()
        if fate is Fate.UNANSWERED:
            raise StoreUnavailable('unanswered')
        return result

    def lock(self) -> 'Lock':
        """What stands in for a lock, as gevent's do in the server."""
        return Lock(self)

    def gate(self, inside: int, *args: object) -> 'Lock':
        """What stands in for a gate that lets one in at a time."""
        assert inside == 1
        return Lock(self)


class Lock:
    """A lock between tasks."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._is_free = True

    def __enter__(self) -> None:
        while not self._is_free:
            self._schedule.block(lambda: self._is_free)
        self._is_free = False

    def __exit__(self, *exc_info: object) -> None:
        self._is_free = True

    def pass_through(self, patient: bool = False) -> 'Lock':
        """A gate that refuses nobody is a lock."""
        return self
