"""The values of the metrics, as families of samples."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from rbln_supervisor.core.reporting.metrics import (
    DiscoveryMetrics,
    PoolMetrics,
    SupervisorMetrics,
)
from rbln_supervisor.core.reporting.unavailability import NOT_CHECKED, LossCause
from rbln_supervisor.core.status import (
    CounterName,
    PoolState,
    PoolStatus,
    SupervisorStatus,
)
from rbln_supervisor.exporter.catalog import CATALOG, Kind
from rbln_worker.contract import counters
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.pod_devices import PodSource
from rbln_worker.contract.problem import Code

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily

_FAMILIES: Final[Mapping[Kind, type[Family]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}

# Prometheus sees no increase in a counter whose first sample is 1: the series that alerts use exist
# from the start.
_CODES: Final[Mapping[str, tuple[str, ...]]] = {
    "Allocate": (
        *("OK", "CANCELLED", "DEADLINE_EXCEEDED"),
        *("FAILED_PRECONDITION", "INVALID_ARGUMENT", "UNKNOWN"),
    ),
    "NodePrepareResources": ("OK", "refused", "api-server", "files"),
}
"""Codes of a method; OK for any other one."""
_RESTARTS: Final = (
    *("SIGABRT", "SIGBUS", "SIGKILL", "SIGSEGV"),
    *(f"exit-{code}" for code in Exit if code not in {Exit.UNUSABLE, Exit.USAGE}),
    *("hang", "not-started", "unknown"),
)
_LOSSES: Final = LossCause("worker-down"), LossCause("kubelet-away"), LossCause("unregistered")
_BOUNDS: Final = (*(repr(bound) for bound in counters.BOUNDS_S), "+Inf")


class Page(Collector):
    """The samples of one scrape; a family without samples is left out."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {
            entry.name: _FAMILIES[entry.kind](entry.name, entry.text, labels=entry.labels)
            for entry in CATALOG
        }

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

    def add_histogram(self, name: str, histogram: counters.Histogram, *labels: str) -> None:
        """Add the samples of a histogram."""
        family = self._families[name]
        assert isinstance(family, HistogramMetricFamily)  # noqa: S101 - narrows
        counts = (*histogram.counts, *(0,) * len(_BOUNDS))[: len(_BOUNDS)]
        family.add_metric(
            labels, tuple(zip(_BOUNDS, accumulate(counts), strict=True)), histogram.sum_s
        )


_COUNTERS: Final[Mapping[CounterName, tuple[str, ...]]] = {
    CounterName.KUBELET_RESTARTS: ("rbln_kubelet_restarts_total",),
    CounterName.RELOADS: ("rbln_reloads_total", "ok"),
    CounterName.RELOADS_REFUSED: ("rbln_reloads_total", "refused"),
    CounterName.UEVENTS: ("rbln_kernel_events_total", "uevent"),
    CounterName.LINK_CHANGES: ("rbln_kernel_events_total", "link"),
    CounterName.UEVENTS_LOST: ("rbln_kernel_events_lost_total", "uevent"),
    CounterName.LINK_CHANGES_LOST: ("rbln_kernel_events_lost_total", "link"),
}
"""Metric and label of each counter that is not about frames."""


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
    for code, count in Counter(one.code for one in supervisor.problems).items():
        page.add_sample("rbln_problems", count, code)
    page.add_sample("rbln_pod_source_info", 1, supervisor.pod_source or PodSource.NONE)
    _fill_node(page, supervisor, measures.discoveries)
    for name, pool in measures.status.pools.items():
        _fill_status(page, name, pool, device_series=device_series)
    exported = {name for name, pool in measures.status.pools.items() if pool.driver}
    for name, counted in measures.pools.items():
        _fill_pool(page, name, counted)
        if counted.figures is not None:
            _fill_counters(page, name, counted.figures, uses_dra=name in exported)


def _fill_node(page: Page, supervisor: SupervisorStatus, discoveries: DiscoveryMetrics) -> None:
    page.add_histogram("rbln_discovery_duration_seconds", discoveries.took)
    page.add_sample("rbln_discovery_failures_total", discoveries.failed)
    page.add_sample("rbln_discovery_cpu_seconds_total", discoveries.cpu_s)
    refused = any(one.code is Code.RELOAD_REFUSED for one in supervisor.problems)
    page.add_sample("rbln_config_refused", refused)
    for counter in CounterName:
        metric, *labels = _COUNTERS.get(counter, ("rbln_dropped_frames_total", counter))
        page.add_sample(metric, supervisor.counters.get(counter, 0), *labels)


def _fill_status(page: Page, name: str, pool: PoolStatus, *, device_series: bool) -> None:
    for state in get_args(PoolState):
        page.add_sample("rbln_pool_state", pool.state == state, name, state)
    for code, count in Counter(one.code for one in pool.problems).items():
        page.add_sample("rbln_pool_problems", count, name, code)
    # Always present, so that a pool without healthy devices has the value 0.
    counts = Counter({("Healthy", str(HealthPhase.HEALTHY), ""): 0})
    if pool.driver:
        page.add_sample("rbln_claims", len(pool.claims), name)
    for device in pool.devices.values():
        well = device.phase is HealthPhase.HEALTHY
        source = "" if well else device.source or NOT_CHECKED
        counts[device.health, str(device.phase), source] += 1
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
    lost = dict.fromkeys(_LOSSES, 0.0) | dict(counted.lost)
    for (cause, source), seconds in lost.items():
        page.add_sample("rbln_lost_allocatable_seconds_total", seconds, name, cause, source)


def _fill_counters(
    page: Page, name: str, figures: counters.WorkerCounters, *, uses_dra: bool
) -> None:
    if uses_dra:
        page.add_sample("rbln_slices", figures.slices, name)
        page.add_sample("rbln_slice_writes_total", figures.slice_writes, name)
        for status, count in sorted(({"0": 0} | dict(figures.api_errors)).items()):
            page.add_sample("rbln_api_errors_total", count, name, status)
    for method in counters.CLAIM_METHODS if uses_dra else counters.METHODS:
        calls = figures.calls.get(method, counters.Calls())
        codes = dict.fromkeys(_CODES.get(method, ("OK",)), 0) | dict(calls.codes)
        for code, count in sorted(codes.items()):
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
