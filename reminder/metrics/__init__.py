"""What the server tells Prometheus of itself: read when it is asked for; until then only plain numbers are kept."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector

from reminder.metrics.collector import Server, Sources


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, sources: Sources) -> None:
        # Nothing is collected at once, which the library would do to learn the names: there is no server yet.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Server(sources))
        self._registry.register(ProcessCollector(registry=None))

    def expose(self, accept: str) -> tuple[bytes, str]:
        """All of them as the client asks for by its header `Accept`: the text, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
