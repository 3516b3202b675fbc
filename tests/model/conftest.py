"""Pages of the model are small, so that few events fill several; and what it logs by the thousand is not kept."""

import logging
from collections.abc import Iterator

import pytest

from tests.services import shrink_pages


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_pages(monkeypatch)


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)
