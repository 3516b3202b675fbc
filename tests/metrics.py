"""The metrics of a server, read as Prometheus reads them."""

import time
import urllib.request
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families


class Metrics:
    """What a server exposed at a moment."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        samples = [sample for family in self.families.values() for sample in family.samples]
        self._values = {(one.name, frozenset(one.labels.items())): one.value for one in samples}
        assert len(self._values) == len(samples), 'a sample comes twice'
        self.names = {sample.name for sample in samples}

    def __call__(self, name: str, **labels: str) -> float:
        """The value of that sample; KeyError where there is none."""
        return self._values[name, frozenset(labels.items())]

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name with these labels, among others."""
        return sum(
            value
            for (one, found), value in self._values.items()
            if one == name and labels.items() <= dict(found).items()
        )


def scrape(url: str, token: str | None = None) -> Metrics:
    """The metrics of the server at `url`."""
    request = urllib.request.Request(f'{url}/metrics', headers={'Authorization': f'Bearer {token}'} if token else {})
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.headers['Content-Type'].startswith('text/plain; version=')
        return Metrics(response.read().decode())


def scrape_until(url: str, is_so: Callable[[Metrics], bool], within: float = 10) -> Metrics:
    """The metrics of the server at `url` once they are so; fails if they are not within so many seconds."""
    deadline = time.monotonic() + within
    while not is_so(found := scrape(url)):
        assert time.monotonic() < deadline, found.text
        time.sleep(0.1)
    return found
