"""The values of the metrics, as families of samples."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from rbln_supervisor.core.reporting.metrics import NodeMetrics, PoolMetrics, SupervisorMetrics
from rbln_supervisor.core.reporting.unavailability import source_of
from rbln_supervisor.core.status import PoolState, PoolStatus
from rbln_supervisor.exporter.catalog import CATALOG, Entry
from rbln_worker.contract.counters import BOUNDS_S, METHODS, Calls, Histogram, WorkerCounters
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.pod_devices import PodSource

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

# Prometheus sees no increase in a counter whose first sample is 1: the series that alerts use exist
# from the start.
_RESTARTS: Final = ("SIGKILL", "SIGSEGV", "exit-70", "hang")
_LOSSES: Final = (("worker-down", ""), ("kubelet-away", ""), ("unregistered", ""))
_BOUNDS: Final = (*(repr(bound) for bound in BOUNDS_S), "+Inf")


class Page(Collector):
    """The samples of one scrape; a family without samples is left out."""

    def __init__(self) -> None:
        self._families = {entry.name: _new_family(entry) for entry in CATALOG}

    def collect(self) -> Iterable[Family]:
        """Return the families, in the catalog's order."""
        return [family for family in self._families.values() if family.samples]

    def __contains__(self, name: str) -> bool:
        return name in self._families

    def add_sample(self, name: str, value: float, *labels: str) -> None:
        """Add a sample of a gauge or counter."""
        family = self._families[name]
        assert not isinstance(family, HistogramMetricFamily)  # noqa: S101 - narrows
        family.add_metric(labels, value)

    def add_histogram(self, name: str, histogram: Histogram, *labels: str) -> None:
        """Add the samples of a histogram."""
        family = self._families[name]
        assert isinstance(family, HistogramMetricFamily)  # noqa: S101 - narrows
        counts = (*histogram.counts, *(0,) * len(_BOUNDS))[: len(_BOUNDS)]
        family.add_metric(
            labels, tuple(zip(_BOUNDS, accumulate(counts), strict=True)), histogram.sum_s
        )


def fill_page(page: Page, measures: SupervisorMetrics, *, device_series: bool) -> None:
    """Add the metrics of a supervisor's reply to a page.

    Args:
        page: a new one.
        measures: the reply.
        device_series: True: also a series for each device.
    """
    supervisor = measures.status.supervisor
    page.add_sample("rbln_supervisor_info", 1, supervisor.version)
    page.add_sample("rbln_supervisor_uptime_seconds", supervisor.uptime_s)
    page.add_sample("rbln_supervisor_ready", supervisor.ready)
    page.add_sample("rbln_problems", len(supervisor.problems))
    page.add_sample("rbln_pod_source_info", 1, supervisor.pod_source or PodSource.NONE)
    _fill_node(page, measures.node)
    for name, pool in measures.status.pools.items():
        _fill_status(page, name, pool, device_series=device_series)
    for name, counted in measures.pools.items():
        _fill_pool(page, name, counted)
        if counted.figures is not None:
            _fill_counters(page, name, counted.figures)


def _fill_node(page: Page, node: NodeMetrics) -> None:
    page.add_sample("rbln_kubelet_restarts_total", node.kubelet_restarts)
    page.add_histogram("rbln_discovery_duration_seconds", node.discoveries.took)
    page.add_sample("rbln_discovery_failures_total", node.discoveries.failed)
    page.add_sample("rbln_discovery_cpu_seconds_total", node.discoveries.cpu_s)
    _add_labelled(page, "rbln_reloads_total", node.reloads)
    page.add_sample("rbln_config_refused", node.config_refused)
    _add_labelled(page, "rbln_kernel_events_total", node.kernel_events)
    _add_labelled(page, "rbln_kernel_events_lost_total", node.kernel_events_lost)
    dropped = {kind.replace(" ", "-"): count for kind, count in node.dropped.items()}
    _add_labelled(page, "rbln_dropped_frames_total", dropped)


def _fill_status(page: Page, name: str, pool: PoolStatus, *, device_series: bool) -> None:
    for state in get_args(PoolState):
        page.add_sample("rbln_pool_state", pool.state == state, name, state)
    page.add_sample("rbln_pool_problems", len(pool.problems), name)
    # Always present, so that a pool without healthy devices has the value 0.
    counts = Counter({("Healthy", str(HealthPhase.HEALTHY), ""): 0})
    for device in pool.devices.values():
        well = device.phase is HealthPhase.HEALTHY
        counts[device.health, str(device.phase), "" if well else source_of(device.source)] += 1
    for (health, phase, source), count in sorted(counts.items()):
        page.add_sample("rbln_devices", count, name, health, phase, source)
    warned = sum(bool(device.warnings) for device in pool.devices.values())
    page.add_sample("rbln_devices_warned", warned, name)
    if device_series:
        for device_id, device in pool.devices.items():
            page.add_sample("rbln_device_healthy", device.health == "Healthy", name, device_id)
            for one in device.pods:
                labels = one.namespace, one.pod or one.uid, one.container
                page.add_sample("rbln_device_pod_info", 1, name, device_id, *labels)


def _fill_pool(page: Page, name: str, counted: PoolMetrics) -> None:
    for cause, count in (dict.fromkeys(_RESTARTS, 0) | dict(counted.restarts)).items():
        page.add_sample("rbln_worker_restarts_total", count, name, cause)
    page.add_sample("rbln_workers_adopted_total", counted.adoptions, name)
    page.add_histogram("rbln_event_latency_seconds", counted.latency, name)
    lost = dict.fromkeys(_LOSSES, 0.0)
    lost |= {(one.cause, one.source): one.seconds for one in counted.lost}
    for (cause, source), seconds in lost.items():
        page.add_sample("rbln_lost_allocatable_seconds_total", seconds, name, cause, source)


def _fill_counters(page: Page, name: str, figures: WorkerCounters) -> None:
    for method in METHODS:
        calls = figures.calls.get(method, Calls())
        for code, count in sorted(({"OK": 0} | dict(calls.codes)).items()):
            page.add_sample("rbln_rpcs_total", count, name, method, code)
        page.add_histogram("rbln_rpc_duration_seconds", calls.took, name, method)
    page.add_sample("rbln_allocated_devices_total", figures.allocated, name)
    page.add_sample("rbln_list_streams", figures.streams, name)
    page.add_sample("rbln_list_streams_opened_total", figures.opened, name)
    page.add_sample("rbln_list_messages_total", figures.messages, name)
    page.add_sample("rbln_registrations_total", figures.registrations, name)
    page.add_sample("rbln_registration_failures_total", figures.refusals, name)
    page.add_histogram("rbln_registration_duration_seconds", figures.to_register, name)
    page.add_histogram("rbln_health_check_duration_seconds", figures.checks, name)
    page.add_sample("rbln_health_checks_hung_total", figures.hung, name)
    page.add_sample("rbln_health_checks_hanging", figures.hanging, name)
    page.add_sample("rbln_greedy_preferences_total", figures.greedy_preferences, name)
    page.add_sample("rbln_failed_preferences_total", figures.failed_preferences, name)
    page.add_sample("rbln_failed_writes_total", figures.failed_writes, name)
    page.add_sample("rbln_restored_specs_total", figures.restored_specs, name)


def _add_labelled(page: Page, name: str, counts: Mapping[str, int]) -> None:
    for label, count in sorted(counts.items()):
        page.add_sample(name, count, label)


def _new_family(entry: Entry) -> Family:
    match entry.kind:
        case "counter":
            return CounterMetricFamily(entry.name, entry.text, labels=entry.labels)
        case "gauge":
            return GaugeMetricFamily(entry.name, entry.text, labels=entry.labels)
        case "histogram":
            return HistogramMetricFamily(entry.name, entry.text, labels=entry.labels)
