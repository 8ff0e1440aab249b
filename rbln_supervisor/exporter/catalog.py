"""All metrics: name, kind, labels and description.

Tests compare docs/metrics.md, the dashboard and the alerts with this list.
"""

from typing import Final, Literal, NamedTuple

Kind = Literal["gauge", "counter", "histogram"]


class Entry(NamedTuple):
    """A metric."""

    name: str
    """Name in a scrape; for a histogram without ``_bucket``, ``_sum``, ``_count``."""
    kind: Kind
    labels: tuple[str, ...]
    text: str


_POOL: Final = ("pool",)
_PROCESS: Final = ("process", "pool")

CATALOG: Final = (
    # The supervisor
    Entry("rbln_up", "gauge", (), "1 if the supervisor answered within the deadline, else 0"),
    Entry("rbln_supervisor_info", "gauge", ("version",), "1, with the supervisor's version"),
    Entry("rbln_supervisor_uptime_seconds", "gauge", (), "Age of the supervisor"),
    Entry(
        "rbln_supervisor_ready",
        "gauge",
        (),
        "1 if a discovery has ended and the kubelet lists every pool that has devices",
    ),
    Entry("rbln_problems", "gauge", ("code",), "`problems` in the supervisor's status, by code"),
    # Pools and devices
    Entry("rbln_pool_state", "gauge", ("pool", "state"), "1 for the state the pool is in, else 0"),
    Entry("rbln_pool_problems", "gauge", ("pool", "code"), "`problems` of the pool, by code"),
    Entry(
        "rbln_devices",
        "gauge",
        ("pool", "health", "phase", "source"),
        "Devices by the health that the kubelet gets, by phase, and by the source of bad health; "
        "combinations without a device are left out",
    ),
    Entry("rbln_devices_warned", "gauge", _POOL, "Devices that work and have a warning"),
    Entry(
        "rbln_device_healthy",
        "gauge",
        ("pool", "device"),
        "1 if the kubelet gets the device as Healthy; not with --no-device-series",
    ),
    Entry(
        "rbln_lost_allocatable_seconds_total",
        "counter",
        ("pool", "cause", "source"),
        "Device-seconds in which devices that a pool lists could not be given out",
    ),
    # The kubelet's calls
    Entry(
        "rbln_rpcs_total",
        "counter",
        ("pool", "method", "code"),
        "Allocate and GetPreferredAllocation, by gRPC status code. Of a pool for DRA, for each "
        "claim: NodePrepareResources and NodeUnprepareResources, by OK, refused, api-server, files",
    ),
    Entry(
        "rbln_rpc_duration_seconds",
        "histogram",
        ("pool", "method"),
        "From the decoded request to the response; without gRPC's own share",
    ),
    Entry(
        "rbln_allocated_devices_total",
        "counter",
        _POOL,
        "Devices allocated to containers; one that is allocated twice counts twice",
    ),
    Entry("rbln_list_streams", "gauge", _POOL, "ListAndWatch streams that are open"),
    Entry("rbln_list_streams_opened_total", "counter", _POOL, "ListAndWatch streams opened"),
    Entry("rbln_list_messages_total", "counter", _POOL, "ListAndWatch messages sent"),
    # Dynamic Resource Allocation
    Entry("rbln_claims", "gauge", _POOL, "Prepared ResourceClaims of a pool for DRA"),
    Entry("rbln_slices", "gauge", _POOL, "Published ResourceSlices of a pool for DRA"),
    Entry("rbln_slice_writes_total", "counter", _POOL, "Writes of ResourceSlices"),
    Entry(
        "rbln_api_errors_total",
        "counter",
        ("pool", "status"),
        "Failed calls of the API server for slices, by HTTP status; 0: no answer",
    ),
    # Registration
    Entry(
        "rbln_registrations_total",
        "counter",
        _POOL,
        "Registrations after which the kubelet opened a stream",
    ),
    Entry("rbln_registration_failures_total", "counter", _POOL, "Registrations that failed"),
    Entry(
        "rbln_registration_duration_seconds",
        "histogram",
        _POOL,
        "From the moment when the pool was not listed and the kubelet was reachable, "
        "to the kubelet's stream",
    ),
    Entry(
        "rbln_kubelet_restarts_total", "counter", (), "Times that kubelet.sock was created again"
    ),
    # Workers
    Entry(
        "rbln_worker_restarts_total",
        "counter",
        ("pool", "cause"),
        "Workers that ended unexpectedly, by cause: a signal, exit-<code>, hang (no heartbeat for "
        "5 s), not-started, unknown (one forked by an earlier supervisor)",
    ),
    Entry(
        "rbln_workers_adopted_total",
        "counter",
        _POOL,
        "Workers that the supervisor adopted when it started",
    ),
    Entry("rbln_health_check_duration_seconds", "histogram", _POOL, "Health checks of one device"),
    Entry(
        "rbln_health_checks_hung_total",
        "counter",
        _POOL,
        "Health checks of a device that took more than 0.1 s",
    ),
    Entry("rbln_health_checks_hanging", "gauge", _POOL, "Health checks of a device that hang now"),
    Entry(
        "rbln_greedy_preferences_total",
        "counter",
        _POOL,
        "Preferred allocations that are valid and maybe not the best: too many combinations to try",
    ),
    Entry(
        "rbln_failed_preferences_total",
        "counter",
        _POOL,
        "Preferred allocations without a preference, because the policy failed",
    ),
    Entry(
        "rbln_failed_writes_total",
        "counter",
        _POOL,
        "Device-info files and CDI specs that could not be written",
    ),
    Entry(
        "rbln_restored_specs_total",
        "counter",
        _POOL,
        "CDI specs that another program removed, and that were written again",
    ),
    Entry(
        "rbln_device_pod_info",
        "gauge",
        (*_POOL, "device", "namespace", "pod", "container"),
        "1 for each pod that uses a device; not with --no-device-series",
    ),
    # The node
    Entry(
        "rbln_pod_source_info",
        "gauge",
        ("source",),
        "Source of the devices in use: pods-api, pod-resources, checkpoint, none",
    ),
    Entry(
        "rbln_event_latency_seconds",
        "histogram",
        _POOL,
        "From a kernel event to the message with the change to the worker",
    ),
    Entry("rbln_kernel_events_total", "counter", ("kind",), "Events about devices: uevent, link"),
    Entry(
        "rbln_kernel_events_lost_total",
        "counter",
        ("kind",),
        "Times that the kernel dropped events; a full discovery follows",
    ),
    Entry("rbln_discovery_duration_seconds", "histogram", (), "Full and partial discoveries"),
    Entry("rbln_discovery_failures_total", "counter", (), "Discoveries that failed"),
    Entry("rbln_discovery_cpu_seconds_total", "counter", (), "CPU time of discoveries"),
    Entry(
        "rbln_reloads_total",
        "counter",
        ("outcome",),
        "Reloads of the configuration: ok, refused",
    ),
    Entry(
        "rbln_config_refused",
        "gauge",
        (),
        "1 while the configuration file is refused, and the last accepted one is served",
    ),
    Entry(
        "rbln_dropped_frames_total",
        "counter",
        ("kind",),
        "Messages between supervisor, workers and clients that could not be read or sent",
    ),
    # Processes
    Entry(
        "rbln_process_resident_memory_bytes",
        "gauge",
        _PROCESS,
        "RSS of supervisor, worker and exporter, where /proc shows them",
    ),
    Entry(
        "rbln_process_proportional_memory_bytes",
        "gauge",
        _PROCESS,
        "PSS: pages that processes share are divided among them",
    ),
    Entry("rbln_process_cpu_seconds_total", "counter", _PROCESS, "CPU time of the process"),
    Entry("rbln_process_open_fds", "gauge", _PROCESS, "Open descriptors"),
    Entry(
        "rbln_process_start_time_seconds", "gauge", _PROCESS, "Start, in seconds since the epoch"
    ),
)


def catalog_table() -> str:
    """Return the list as it is in docs/metrics.md."""
    rows = (
        f"| `{entry.name}` | {entry.kind} | {', '.join(entry.labels) or '-'} | {entry.text} |"
        for entry in CATALOG
    )
    return "\n".join(("| metric | kind | labels | |", "|---|---|---|---|", *rows))
