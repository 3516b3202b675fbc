"""The tests' launcher: patches the standard library first, as `scripts/run_server.py` does for the server.

So everything that a test starts, official clients and pymongo included, runs on greenlets and may block.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import signal  # noqa: E402
from collections.abc import Iterator  # noqa: E402

import gevent  # noqa: E402
import hypothesis  # noqa: E402
import pytest  # noqa: E402

from tests import clients  # noqa: E402

# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile(
    'any-machine', deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile('any-machine')

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell that runs the tests in the background has them ignore Ctrl-C, and all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if 'PYTEST_XDIST_WORKER' in os.environ:
    # A worker of pytest-xdist waits for a thread of its own; without a timer gevent would take that for a deadlock.
    _timer = gevent.get_hub().loop.timer(1, 1)
    _timer.start(lambda: None)


LONGEST = 'test_cli test_stream test_faults test_restart test_recovery test_auth test_feed test_channels'.split()
"""Files that begin first, so that no worker is left alone with one of them in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope='session')
def driver() -> Iterator[clients.Driver]:
    """The Node.js process of the JavaScript clients; skips where Node.js or its packages cannot be had."""
    clients.install()
    driver = clients.Driver()
    yield driver
    driver.close()


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Iterator[clients.Clients]:
    """Opens clients for one test: `connect(url, kind, transport)`."""
    with clients.Clients(lambda: request.getfixturevalue('driver')) as connect:
        yield connect
