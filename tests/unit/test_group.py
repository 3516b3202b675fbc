"""Group commit: who shares a commit with whom, and who learns of which failure."""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import pytest

from reminder.errors import StoreUnavailable
from reminder.models.group import GroupCommit


class Committer:
    """A commit that waits until the test lets it go on, so that callers gather in the meantime."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.answer: Callable[[list[Any]], Sequence[Any]] = lambda items: [None] * len(items)
        self.go = threading.Semaphore(0)

    def __call__(self, items: list[Any]) -> Sequence[Any]:
        self.batches.append(list(items))
        self.go.acquire()
        return self.answer(items)


@pytest.fixture
def commit() -> Committer:
    return Committer()


def call(group: GroupCommit[Any, Any], *items: Any) -> list[gevent.Greenlet]:
    """One concurrent caller for each item, all of them started and waiting."""
    callers = [gevent.spawn(group.add, item) for item in items]
    gevent.idle()
    return callers


def results(callers: list[gevent.Greenlet]) -> list[Any]:
    """What each caller got: None, or the exception."""
    gevent.joinall(callers, timeout=5)
    assert all(caller.ready() for caller in callers), 'a caller waits for ever'
    return [caller.exception for caller in callers]


def test_an_idle_group_commits_at_once(commit: Committer) -> None:
    commit.go.release()
    GroupCommit(commit, limit=10).add('a')
    assert commit.batches == [['a']]


def test_callers_that_come_during_a_commit_share_the_next_one(commit: Committer) -> None:
    group = GroupCommit(commit, limit=10)
    first = call(group, 'a')
    others = call(group, 'b', 'c', 'd')
    assert commit.batches == [['a']]

    commit.go.release()
    assert results(first) == [None]
    assert not any(caller.ready() for caller in others), 'a caller was answered before its commit'

    commit.go.release()
    assert results(others) == [None, None, None]
    assert commit.batches == [['a'], ['b', 'c', 'd']]


def test_a_batch_holds_no_more_than_the_limit(commit: Committer) -> None:
    group = GroupCommit(commit, limit=2)
    callers = call(group, 'a', *'bcdef')
    for _ in range(4):
        commit.go.release()
    results(callers)
    assert commit.batches == [['a'], ['b', 'c'], ['d', 'e'], ['f']]


def test_each_caller_gets_the_answer_for_its_own_item(commit: Committer) -> None:
    commit.answer = lambda items: [ValueError(item) if item in 'ac' else None for item in items]
    group = GroupCommit(commit, limit=10)
    callers = call(group, 'x', *'abcd')
    commit.go.release()
    commit.go.release()
    assert [error and str(error) for error in results(callers)] == [None, 'a', None, 'c', None]


def test_a_failed_commit_fails_all_its_callers_each_with_an_exception_of_its_own(commit: Committer) -> None:
    def fail(items: list[Any]) -> Sequence[Any]:
        raise StoreUnavailable('disk full')

    group = GroupCommit(commit, limit=10)
    first = call(group, 'a')
    others = call(group, 'b', 'c')
    commit.go.release()
    results(first)
    commit.answer = fail
    commit.go.release()

    errors = results(others)
    assert [(type(error), str(error)) for error in errors] == [(StoreUnavailable, 'disk full')] * 2
    assert errors[0] is not errors[1]
    assert errors[0].__cause__ is errors[1].__cause__


def test_what_waited_for_a_commit_that_failed_shares_the_failure_and_what_comes_later_is_tried(
    commit: Committer,
) -> None:
    def fail(items: list[Any]) -> Sequence[Any]:
        raise StoreUnavailable('no answer within 5 s')

    group = GroupCommit(commit, limit=2)
    commit.answer = fail
    callers = call(group, 'a', *'bcde')
    commit.go.release()
    assert [str(error) for error in results(callers)] == ['no answer within 5 s'] * 5
    assert commit.batches == [['a']]

    commit.answer = lambda items: [None] * len(items)
    commit.go.release()
    commit.go.release()
    group.add('f')
    group.add('g')
    assert commit.batches == [['a'], ['f'], ['g']]


def test_a_failure_after_another_one_is_tried_again_each_time(commit: Committer) -> None:
    def fail(items: list[Any]) -> Sequence[Any]:
        raise StoreUnavailable(items[0])

    commit.answer = fail
    group = GroupCommit(commit, limit=2)
    for item in 'ab':
        commit.go.release()
        with pytest.raises(StoreUnavailable, match=item):
            group.add(item)


@pytest.mark.parametrize('moment', ['waits for its turn', 'commits'])
def test_callers_do_not_hang_when_their_leader_is_killed(commit: Committer, moment: str) -> None:
    group = GroupCommit(commit, limit=10)
    first = call(group, 'a')
    leader, follower = call(group, 'b', 'c')
    if moment == 'commits':
        commit.go.release()
        results(first)
    leader.kill()
    (error,) = results([follower])
    assert isinstance(error, StoreUnavailable)

    later = call(group, 'd')
    commit.go.release()
    commit.go.release()
    results(first)
    assert results(later) == [None]
    assert commit.batches[-1] == ['d']


REAL_THREADS = """
import threading
from reminder.models.group import GroupCommit

batches = []

def commit(items):
    batches.append(list(items))
    return [None] * len(items)

group = GroupCommit(commit, limit=3)
threads = [threading.Thread(target=lambda k=k: [group.add((k, n)) for n in range(300)]) for k in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sorted(sum(batches, [])) == [(k, n) for k in range(8) for n in range(300)]
assert max(map(len, batches)) <= 3
"""


def test_threads_of_a_process_without_gevent_lose_and_repeat_nothing() -> None:
    subprocess.run([sys.executable, '-c', REAL_THREADS], check=True, timeout=30)
