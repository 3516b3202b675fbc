"""What is observed, without a server: commands, the store, and the histograms that keep how long they took."""

import inspect
from typing import Any
from unittest.mock import Mock

import pytest

from reminder.commands.envelopes import Failure
from reminder.errors import Changed, InvalidInput, StoreUnavailable
from reminder.metrics.commands import CommandFigures, ObservedCommands
from reminder.metrics.store import VERBS, StoreFigures, observed
from reminder.models.store import Store
from reminder.services.histogram import Histogram
from reminder.services.identity import EVERYBODY


@pytest.mark.parametrize(('value', 'bucket'), [(0, 0), (1, 0), (1.5, 1), (10, 1), (11, 2)])
def test_a_value_counts_in_the_bucket_whose_bound_it_does_not_exceed(value: float, bucket: int) -> None:
    histogram = Histogram((1, 10))
    histogram.record(value)
    assert histogram.buckets == [int(number == bucket) for number in range(3)]
    assert (histogram.count, histogram.total) == (1, value)


class TestCommands:
    def run(self, message: object, answer: dict[str, Any]) -> tuple[CommandFigures, Mock]:
        figures, commands = CommandFigures(['getStatus']), Mock()
        commands.run.return_value = answer
        assert ObservedCommands(commands, figures, 'http').run(message, EVERYBODY) is answer
        return figures, commands

    def test_it_passes_on_what_it_is_asked(self) -> None:
        message = {'command': 'getStatus'}
        _, commands = self.run(message, {'status': 'success'})
        commands.run.assert_called_once_with(message, EVERYBODY)

    @pytest.mark.parametrize(
        ('answer', 'outcome'),
        [
            ({'status': 'success', 'response': {'error': 'none'}}, 'success'),
            (Failure("'time' is required", InvalidInput), 'failure'),
            (Failure('try again later', StoreUnavailable), 'unavailable'),
            (Failure('internal error', Exception), 'error'),
        ],
    )
    def test_a_command_counts_by_its_outcome(self, answer: dict[str, Any], outcome: str) -> None:
        figures, _ = self.run({'command': 'getStatus'}, answer)
        assert +figures.outcomes == {('http', 'getStatus', outcome): 1}
        assert figures.durations['getStatus'].count == 1

    def test_what_has_not_happened_yet_is_there(self) -> None:
        outcomes = CommandFigures(['getStatus']).outcomes
        assert len(outcomes) == 2 * 2 * 4
        assert outcomes['socket.io', 'getStatus', 'error'] == 0

    @pytest.mark.parametrize(
        'message', [None, 'x', [], {}, {'command': 'made up'}, {'command': ['getStatus']}, {'command': None}]
    )
    def test_what_clients_make_up_is_no_label(self, message: object) -> None:
        figures, _ = self.run(message, Failure('no such command', InvalidInput))
        assert +figures.outcomes == {('http', 'unknown', 'failure'): 1}
        assert figures.durations.keys() == {'getStatus', 'unknown'}


class TestStore:
    @pytest.fixture
    def figures(self) -> StoreFigures:
        return StoreFigures()

    @pytest.fixture
    def inner(self) -> Mock:
        return Mock(spec=Store)

    def test_each_verb_of_the_contract_is_passed_on_and_counted(self, figures: StoreFigures, inner: Mock) -> None:
        store = observed(inner, figures)
        assert isinstance(store, Store)
        for verb in VERBS:
            arguments = list(inspect.signature(getattr(Store, verb)).parameters)[1:]
            assert getattr(store, verb)(*arguments) is getattr(inner, verb).return_value
            getattr(inner, verb).assert_called_once_with(*arguments)
        assert all(figures.durations[verb].count == 1 for verb in VERBS)
        assert figures.answers
        store.close()
        inner.close.assert_called_once_with()

    def test_a_database_that_is_away_is_an_error_until_it_answers(self, figures: StoreFigures, inner: Mock) -> None:
        inner.read.side_effect = StoreUnavailable('away')
        store = observed(inner, figures)
        store.record()
        with pytest.raises(StoreUnavailable):
            store.read('after', 'until', 1)  # type: ignore[arg-type]
        assert (figures.errors.total(), figures.errors['read'], figures.answers) == (1, 1, False)
        assert figures.durations['read'].count == 1
        store.record()
        assert figures.answers

    def test_a_refusal_is_an_answer(self, figures: StoreFigures, inner: Mock) -> None:
        inner.replace.side_effect = Changed
        with pytest.raises(Changed):
            observed(inner, figures).replace('old', 'new')  # type: ignore[arg-type]
        assert figures.errors.total() == 0
