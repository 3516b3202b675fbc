"""Turns: who goes through, in which order, and what happens in between."""

from collections.abc import Callable
from itertools import pairwise

import gevent

from reminder.websocket.turns import Turnstile, give_turn


def comer(turnstile: Turnstile, name: str, through: list[str], times: int = 1) -> Callable[[], None]:
    def come() -> None:
        for _ in range(times):
            turnstile.go_through()
            through.append(name)

    return come


def test_a_crowd_goes_through_some_at_a_time_and_others_in_between() -> None:
    turnstile, through = Turnstile(2), list[str]()
    looks = [0]
    look = gevent.get_hub().loop.check()  # called after each look at the network
    look.start(lambda: looks.append(len(through)))
    gevent.joinall([gevent.spawn(comer(turnstile, name, through)) for name in 'abcde'])
    look.stop()
    look.close()
    assert through == [*'abcde']
    assert all(later - sooner <= 2 for sooner, later in pairwise([*looks, 5]))


def test_who_comes_again_does_not_overtake() -> None:
    turnstile, through = Turnstile(1), list[str]()
    crowd = [gevent.spawn(comer(turnstile, 'greedy', through, times=50)) for _ in range(3)]
    give_turn()
    crowd.append(gevent.spawn(comer(turnstile, 'new', through)))
    gevent.joinall(crowd)
    assert through.index('new') <= 8


def test_who_gives_up_is_left_out() -> None:
    turnstile, through = Turnstile(1), list[str]()
    leaving, staying = (gevent.spawn(comer(turnstile, name, through)) for name in ('leaving', 'staying'))
    gevent.idle()
    leaving.kill()
    staying.join()
    assert through[-1] == 'staying'
