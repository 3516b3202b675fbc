"""A browser for all tests of the page, and the page's own client in Node.js."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.page.browser import Browser, Page


@pytest.fixture(scope='session')
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages for one test, which must have no errors of their own: `visit(url, **options)`."""
    with ExitStack() as stack:

        def visit(url: str, **options: Any) -> Page:
            page = browser.page(url, **options)
            stack.callback(page.close)
            pages.append(page)
            return page

        pages: list[Page] = []
        yield visit
        assert [problem for page in pages for problem in page.problems()] == []
