"""All metrics that a server can have, also those that only some options or stores cause."""

from greyd.config.settings import Settings
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.store.entry_counts import EntryCounts
from greyd.store.contract import StoreMemory


def all_metrics() -> Metrics:
    """Return metrics of which each family has been shown once."""
    metrics = Metrics()
    metrics.watch_dns()
    metrics.watch_shadow()
    metrics.state.show_settings(Settings())
    metrics.state.show_triplets(EntryCounts())
    metrics.state.show_descriptors(1, 2)
    metrics.state.show_memory(StoreMemory(1, 2, 3))
    return metrics
