"""Says when it is time: emits the name of each job in `jobs.json` when it is due. It knows nothing of who listens.

Built on the `schedule` library, whose limits this module lives with: it reckons in naive local time, so the process has
to run in UTC; it runs a job that was missed once, not as often as it was missed; and a clock that is set back would
keep it waiting, so the jobs are planned anew then. What is due is never read off it: the handlers ask the log.
"""

import json
import logging
from collections.abc import Callable
from datetime import datetime
from importlib.resources import files
from typing import Any

import schedule

logger = logging.getLogger(__name__)

Handler = Callable[[], None]

MAX_SLEEP = 1.0
"""Seconds after which the clock is looked at again, as it may have been set."""


def load_jobs() -> list[dict[str, Any]]:
    """The jobs in `jobs.json`: `name`, and when, in the terms of `schedule`: `every`, `unit`, `at`.

    One with `at_start` is due once more when the scheduler begins.
    """
    jobs: list[dict[str, Any]] = json.loads(files(__name__).joinpath('jobs.json').read_text('utf-8'))
    return jobs


class Scheduler:
    """Calls the handlers of each job, one after the other, in the greenlet that calls `run`."""

    def __init__(self, jobs: list[dict[str, Any]]) -> None:
        """Raises what the library raises for a job that it does not understand."""
        self._jobs = jobs
        self._handlers: dict[str, list[Handler]] = {job['name']: [] for job in jobs}
        self._schedule = schedule.Scheduler()
        self._looked = datetime.now()
        self._plan()

    def on(self, name: str, handler: Handler) -> None:
        """Has `handler` called whenever the job of that name is due. Raises KeyError for a name that no job has."""
        self._handlers[name].append(handler)

    def tick(self) -> float:
        """Emits what is due now; returns the seconds until it should be called again. Never raises."""
        # Before the handlers run, as they take their time, and the clock may be set meanwhile.
        now = datetime.now()
        if now < self._looked:
            logger.warning('the clock was set back', {'event': 'clock_set_back'})
            self._plan()
        self._looked = now
        self._schedule.run_pending()
        return min(max(self._schedule.idle_seconds or 0.0, 0.0), MAX_SLEEP)

    def run(self, wait: Callable[[float], bool]) -> None:
        """Ticks until `wait(seconds)`, which sleeps on a monotonic timer, says to stop."""
        for job in self._jobs:
            if job.get('at_start'):
                self._emit(job['name'])
        while not wait(self.tick()):
            pass

    def _plan(self) -> None:
        self._schedule.clear()
        for job in self._jobs:
            planned = getattr(self._schedule.every(job['every']), job['unit'])
            if 'at' in job:
                planned = planned.at(job['at'])
            planned.do(self._emit, job['name'])

    def _emit(self, name: str) -> None:
        for handler in self._handlers[name]:
            try:
                handler()
            except Exception:
                # A job that raises would end the loop, and keeps its time in `schedule`: it would run for ever.
                logger.exception("job '%(job)s' failed", {'event': 'job_failed', 'job': name})
