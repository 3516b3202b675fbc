"""What a CONNECT's payload means: where the connection begins, and which `pid` it is answered."""

import re
from typing import Any

import pytest

from reminder.errors import InvalidInput, StoreUnavailable
from reminder.models.event import Place
from reminder.services.log import Replay, Start
from reminder.services.offsets import Since, encode_offset
from reminder.websocket import recovery

NOW = 1_800_000_000_000
LOG = '0123456789abcdef'
PLACE = Place(NOW - 60_000, '0123456789abcdef01234567')
OFFSET = encode_offset(LOG, PLACE)
RESUMED = Since(PLACE, LOG)
BEGUN = Start()


class FakeLog:
    """Notes what it was asked to resume from; whether nothing is missing is the test's choice."""

    def __init__(self, complete: bool = True) -> None:
        self.asked: list[Since] = []
        self.channels: list[frozenset[str]] = []
        self.known: list[frozenset[str] | None] = []
        self.resumed = Start(PLACE, Replay(Place(NOW, ''), complete))

    def begin(self, now: int, channels: frozenset[str]) -> Start:
        assert now == NOW
        self.channels.append(channels)
        return BEGUN

    def resume(self, since: Since, channels: frozenset[str], known: frozenset[str] | None) -> Start:
        self.channels.append(channels)
        self.known.append(known)
        self.asked.append(since)
        return self.resumed


def start(log: Any, payload: object) -> tuple[Start, str]:
    return recovery.start(log, payload, NOW)


@pytest.mark.parametrize('payload', [None, {'since': OFFSET}, {'pid': 'mine', 'offset': OFFSET}])
def test_a_client_gets_what_is_for_its_channels(payload: object) -> None:
    log: Any = FakeLog()
    recovery.start(log, payload, NOW, frozenset({'team'}), frozenset({'team', 'all'}))
    assert log.channels == [frozenset({'team'})]
    assert log.known in ([], [frozenset({'team', 'all'})])


@pytest.mark.parametrize(
    'payload', [None, {}, {'token': 'x'}, {'since': None}, {'pid': 'mine'}, {'pid': 'mine', 'offset': None}]
)
def test_a_client_that_knows_no_place_begins_anew(payload: object) -> None:
    log = FakeLog()
    begin, pid = start(log, payload)
    assert (begin, log.asked) == (BEGUN, [])
    assert pid != 'mine'


def test_every_new_pid_is_another_and_could_be_given_back() -> None:
    pids = {start(FakeLog(), None)[1] for _ in range(100)}
    assert len(pids) == 100
    for pid in pids:
        assert start(FakeLog(), {'pid': pid, 'offset': OFFSET})[1] == pid


class TestRecovery:
    """Socket.IO's connection state recovery: `pid` and `offset`."""

    def test_a_client_that_misses_nothing_gets_its_pid_back(self) -> None:
        log = FakeLog(complete=True)
        assert start(log, {'pid': 'mine', 'offset': OFFSET}) == (log.resumed, 'mine')
        assert log.asked == [RESUMED]

    def test_a_client_that_misses_something_gets_what_there_is_and_another_pid(self) -> None:
        log = FakeLog(complete=False)
        begin, pid = start(log, {'pid': 'mine', 'offset': OFFSET})
        assert begin == log.resumed
        assert pid != 'mine'

    @pytest.mark.parametrize('pid', [None, 1, True, '', 'x' * 65, 'a b', 'a"b', '\u00e4', 'a\n', [], {}, ['mine']])
    def test_a_pid_that_no_server_gave_is_not_given_back(self, pid: object) -> None:
        log = FakeLog()
        begin, answered = start(log, {'pid': pid, 'offset': OFFSET})
        assert (begin, log.asked) == (BEGUN, [])
        assert re.fullmatch(r'[A-Za-z0-9_-]{16}', answered, re.ASCII)

    @pytest.mark.parametrize('offset', [None, 1, '', 'x', OFFSET + ' ', OFFSET.upper(), OFFSET + '\n', [OFFSET], {}])
    def test_an_offset_that_is_none_counts_as_none(self, offset: object) -> None:
        log = FakeLog()
        begin, pid = start(log, {'pid': 'mine', 'offset': offset})
        assert (begin, log.asked) == (BEGUN, [])
        assert pid != 'mine'

    def test_it_wins_over_since(self) -> None:
        log = FakeLog()
        assert start(log, {'pid': 'mine', 'offset': OFFSET, 'since': 'nonsense'}) == (log.resumed, 'mine')
        assert log.asked == [RESUMED]


class TestSince:
    """Explicit resume, for other clients."""

    @pytest.mark.parametrize(
        ('since', 'meaning'),
        [
            (OFFSET, RESUMED),
            ('0123456789abcdef01234567', Since(id='0123456789abcdef01234567')),
            ('2027-01-15T08:00:00Z', Since(Place(NOW, ''))),
            ('2027-01-15T09:00:00.000+01:00', Since(Place(NOW, ''))),
        ],
    )
    @pytest.mark.parametrize('extra', [{}, {'pid': 'mine'}, {'pid': 'mine', 'offset': 'nonsense'}])
    def test_it_says_where_to_go_on(self, since: str, meaning: Since, extra: dict[str, str]) -> None:
        log = FakeLog(complete=True)
        begin, pid = start(log, {'since': since, **extra})
        assert (begin, log.asked) == (log.resumed, [meaning])
        assert pid != 'mine'

    @pytest.mark.parametrize(
        'since', ['', 'x', 0, 1.5, True, False, [], {}, '2027-01-15T08:00:00', '2027-13-01T00:00Z', OFFSET + ' ']
    )
    def test_a_malformed_one_is_refused(self, since: object) -> None:
        log = FakeLog()
        with pytest.raises(InvalidInput, match="'since' must be"):
            start(log, {'since': since})
        assert log.asked == []


@pytest.mark.parametrize('payload', [{'pid': 'mine', 'offset': OFFSET}, {'since': OFFSET}])
def test_a_store_that_is_away_is_the_callers_to_answer_for(payload: object) -> None:
    class Away(FakeLog):
        def resume(self, since: Since, channels: frozenset[str], known: frozenset[str] | None) -> Start:
            raise StoreUnavailable('away')

    with pytest.raises(StoreUnavailable):
        start(Away(), payload)
