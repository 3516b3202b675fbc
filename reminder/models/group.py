"""Group commit: what concurrent callers want to keep is kept by one commit of a database, not by one each."""

from collections.abc import Callable, Sequence
from copy import copy
from threading import Event, Lock
from typing import Generic, TypeVar

from reminder.errors import StoreUnavailable

Item = TypeVar('Item')
Result = TypeVar('Result')


class _Batch(Generic[Item, Result]):
    def __init__(self, known: Exception | None) -> None:
        self.items: list[Item] = []  # at most the group's limit
        self.outcomes: Sequence[Result | Exception] = ()
        self.failure: Exception | None = StoreUnavailable('the commit was broken off')  # until its leader knows better
        self.known = known  # how the last commit had failed when this batch was opened
        self.done = Event()


class GroupCommit(Generic[Item, Result]):
    """Calls `commit` with the items of many callers, for one batch at a time.

    Nobody waits for a batch to fill: who finds none open opens one and leads it, that is, waits for the commit under
    way and then commits what has gathered. So an idle store commits at once, a busy one in ever larger batches.
    """

    def __init__(self, commit: Callable[[list[Item]], Sequence[Result | Exception]], limit: int) -> None:
        """`commit` answers, for each of at most `limit` items in order, what came of it or why nothing did."""
        self._commit = commit
        self._limit = limit
        self._gathering = Lock()  # guards _open and its items
        self._open: _Batch[Item, Result] | None = None
        self._turn = Lock()  # held by the leader that commits; guards _failure
        self._failure: Exception | None = None

    def add(self, item: Item) -> Result:
        """What `commit` answers for the item, once it is done; raises an error in its place, or what `commit` did."""
        (outcome,) = self.add_all([item])
        if isinstance(outcome, Exception):
            # A copy for each caller, because raising an exception changes its traceback.
            raise copy(outcome) from outcome
        return outcome

    def add_all(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        """What `commit` answers for several items, at most the limit, in their order; raises what `commit` did."""
        with self._gathering:
            batch = self._open
            if batch is None or len(batch.items) + len(items) > self._limit:
                batch = self._open = _Batch(self._failure)
            number = len(batch.items)
            batch.items += items
            if len(batch.items) == self._limit:
                self._open = None
        if number == 0:
            self._lead(batch)
        else:
            batch.done.wait()
        if batch.failure is not None:
            raise copy(batch.failure) from batch.failure
        return batch.outcomes[number : number + len(items)]

    def _lead(self, batch: _Batch[Item, Result]) -> None:
        try:
            with self._turn:
                self._seal(batch)
                # What waited while a commit failed shares its failure. Each batch would else wait for a time-out of
                # its own, one after the other.
                if self._failure is None or self._failure is batch.known:
                    self._failure = self._try(batch)
                batch.failure = self._failure
        finally:
            self._seal(batch)  # needed where the wait for the turn was broken off
            batch.done.set()

    def _try(self, batch: _Batch[Item, Result]) -> Exception | None:
        try:
            batch.outcomes = self._commit(batch.items)
        except Exception as error:  # noqa: BLE001 - every caller raises it
            return error
        return None

    def _seal(self, batch: _Batch[Item, Result]) -> None:
        with self._gathering:
            if self._open is batch:
                self._open = None
