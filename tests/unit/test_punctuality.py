"""The histogram of lateness."""

import pytest

from reminder.services.punctuality import BOUNDS, Punctuality


def test_without_a_batch_there_is_nothing_to_say() -> None:
    assert Punctuality().summary() == {'batches': 0, 'median': None, 'worst': None}


@pytest.mark.parametrize(('lateness', 'bucket'), [(0, 0), (1, 0), (2, 1), (3, 2), (60_000, 14), (60_001, 15)])
def test_a_batch_counts_in_the_bucket_whose_bound_it_does_not_exceed(lateness: int, bucket: int) -> None:
    punctuality = Punctuality()
    punctuality.record(lateness)
    assert [number for number, count in enumerate(punctuality.buckets) if count] == [bucket]
    assert len(punctuality.buckets) == len(BOUNDS) + 1


def test_the_median_is_the_bound_of_its_bucket() -> None:
    punctuality = Punctuality()
    for lateness in (1, 4, 4, 900):
        punctuality.record(lateness)
    assert punctuality.summary() == {'batches': 4, 'median': 5, 'worst': 900}
    assert punctuality.total == 909


def test_a_median_beyond_all_bounds_is_not_known() -> None:
    punctuality = Punctuality()
    punctuality.record(3_600_000)
    assert punctuality.summary() == {'batches': 1, 'median': None, 'worst': 3_600_000}
