"""All metrics: name, kind, labels and description.

Tests compare docs/metrics.md, the dashboard and the alerts with this list.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

Kind = Literal["gauge", "counter", "histogram"]
_Table = Mapping[str, str]
"""Descriptions, by name and labels as Prometheus writes them: ``name{label,label}``."""


class Entry(NamedTuple):
    """A metric."""

    name: str
    """Name in a scrape; for a histogram without ``_bucket``, ``_sum``, ``_count``."""
    kind: Kind
    labels: tuple[str, ...]
    text: str


_GAUGES: Final[_Table] = {
    "rbln_up": "1 if the supervisor answered within the deadline, else 0",
    "rbln_supervisor_info{version}": "1, with the supervisor's version",
    "rbln_supervisor_uptime_seconds": "Age of the supervisor",
    "rbln_supervisor_ready": "1 if a discovery has ended and the kubelet lists every pool that has "
    "devices",
    "rbln_problems{code}": "`problems` in the supervisor's status, by code",
    "rbln_pool_state{pool,state}": "1 for the state the pool is in, else 0",
    "rbln_pool_problems{pool,code}": "`problems` of the pool, by code",
    "rbln_devices{pool,health,phase,source}": "Devices by the health that the kubelet gets, by "
    "phase, and by the source of bad health; combinations without a device are left out",
    "rbln_devices_warned{pool}": "Devices that work and have a warning",
    "rbln_device_healthy{pool,device}": "1 if the kubelet gets the device as Healthy; not with "
    "--no-device-series",
    "rbln_list_streams{pool}": "ListAndWatch streams that are open",
    "rbln_claims{pool}": "Prepared ResourceClaims of a pool for DRA",
    "rbln_slices{pool}": "Published ResourceSlices of a pool for DRA",
    "rbln_health_checks_hanging{pool}": "Health checks of a device that hang now",
    "rbln_device_pod_info{pool,device,namespace,pod,container}": "1 for each pod that uses a "
    "device; not with --no-device-series",
    "rbln_pod_source_info{source}": "Source of the devices in use: pods-api, pod-resources, "
    "checkpoint, none",
    "rbln_config_refused": "1 while the configuration file is refused, and the last accepted one "
    "is served",
    "rbln_process_resident_memory_bytes{process,pool}": "RSS of supervisor, worker and exporter, "
    "where /proc shows them",
    "rbln_process_proportional_memory_bytes{process,pool}": "PSS: pages that processes share are "
    "divided among them",
    "rbln_process_open_fds{process,pool}": "Open descriptors",
    "rbln_process_start_time_seconds{process,pool}": "Start, in seconds since the epoch",
}

_COUNTERS: Final[_Table] = {
    "rbln_lost_allocatable_seconds_total{pool,cause,source}": "Device-seconds in which devices "
    "that a pool lists could not be given out",
    "rbln_rpcs_total{pool,method,code}": "Allocate and GetPreferredAllocation, by gRPC status "
    "code. Of a pool for DRA, for each claim: NodePrepareResources and NodeUnprepareResources, by "
    "OK, refused, api-server, files",
    "rbln_allocated_devices_total{pool}": "Devices allocated to containers; one that is allocated "
    "twice counts twice",
    "rbln_list_streams_opened_total{pool}": "ListAndWatch streams opened",
    "rbln_list_messages_total{pool}": "ListAndWatch messages sent",
    "rbln_slice_writes_total{pool}": "Writes of ResourceSlices",
    "rbln_api_errors_total{pool,status}": "Failed calls of the API server for slices, by HTTP "
    "status; 0: no answer",
    "rbln_registrations_total{pool}": "Registrations after which the kubelet opened a stream",
    "rbln_registration_failures_total{pool}": "Registrations that failed",
    "rbln_kubelet_restarts_total": "Times that kubelet.sock was created again",
    "rbln_worker_restarts_total{pool,cause}": "Workers that ended unexpectedly, by cause: a "
    "signal, exit-<code>, hang (no heartbeat for 5 s), not-started, unknown (one forked by an "
    "earlier supervisor)",
    "rbln_workers_adopted_total{pool}": "Workers that the supervisor adopted when it started",
    "rbln_health_checks_hung_total{pool}": "Health checks of a device that took more than 0.1 s",
    "rbln_greedy_preferences_total{pool}": "Preferred allocations that are valid and maybe not the "
    "best: too many combinations to try",
    "rbln_failed_preferences_total{pool}": "Preferred allocations without a preference, because "
    "the policy failed",
    "rbln_failed_writes_total{pool}": "Device-info files and CDI specs that could not be written",
    "rbln_restored_specs_total{pool}": "CDI specs that another program removed, and that were "
    "written again",
    "rbln_kernel_events_total{kind}": "Events about devices: uevent, link",
    "rbln_kernel_events_lost_total{kind}": "Times that the kernel dropped events; a full discovery "
    "follows",
    "rbln_discovery_failures_total": "Discoveries that failed",
    "rbln_discovery_cpu_seconds_total": "CPU time of discoveries",
    "rbln_reloads_total{outcome}": "Reloads of the configuration: ok, refused",
    "rbln_dropped_frames_total{kind}": "Messages between supervisor, workers and clients that "
    "could not be read or sent",
    "rbln_process_cpu_seconds_total{process,pool}": "CPU time of the process",
}

_HISTOGRAMS: Final[_Table] = {
    "rbln_rpc_duration_seconds{pool,method}": "From the decoded request to the response; without "
    "gRPC's own share",
    "rbln_registration_duration_seconds{pool}": "From the moment when the pool was not listed and "
    "the kubelet was reachable, to the kubelet's stream",
    "rbln_health_check_duration_seconds{pool}": "Health checks of one device",
    "rbln_event_latency_seconds{pool}": "From a kernel event to the message with the change to the "
    "worker",
    "rbln_discovery_duration_seconds": "Full and partial discoveries",
}


def _read_table(kind: Kind, table: _Table) -> Iterator[Entry]:
    for key, text in table.items():
        name, _, labels = key.rstrip("}").partition("{")
        yield Entry(name, kind, tuple(labels.split(",")) if labels else (), text)


CATALOG: Final = (
    *_read_table("gauge", _GAUGES),
    *_read_table("counter", _COUNTERS),
    *_read_table("histogram", _HISTOGRAMS),
)


def catalog_table() -> str:
    """Return the list as it is in docs/metrics.md."""
    rows = (
        f"| `{entry.name}` | {entry.kind} | {', '.join(entry.labels) or '-'} | {entry.text} |"
        for entry in CATALOG
    )
    return "\n".join(("| metric | kind | labels | |", "|---|---|---|---|", *rows))
