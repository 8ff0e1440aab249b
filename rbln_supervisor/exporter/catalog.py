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
        "1 if the node was looked at and the kubelet lists every pool that has devices",
    ),
    Entry("rbln_problems", "gauge", (), "Lines of `problems` in the supervisor's status"),
    # Pools and devices
    Entry("rbln_pool_state", "gauge", ("pool", "state"), "1 for the state the pool is in, else 0"),
    Entry("rbln_pool_problems", "gauge", _POOL, "Lines of `problems` in the pool's status"),
    Entry(
        "rbln_devices",
        "gauge",
        ("pool", "health", "phase", "source"),
        "Devices by what the kubelet hears, by phase, and by the source of what speaks against "
        "them; combinations that no device is in are left out",
    ),
    Entry("rbln_devices_warned", "gauge", _POOL, "Devices that work and have a warning"),
    Entry(
        "rbln_device_healthy",
        "gauge",
        ("pool", "device"),
        "1 if the kubelet hears that the device is Healthy; not with --no-device-series",
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
        "Allocate and GetPreferredAllocation, by gRPC status code",
    ),
    Entry(
        "rbln_rpc_duration_seconds",
        "histogram",
        ("pool", "method"),
        "From the request, read, to the answer, made; without gRPC's own share",
    ),
    Entry(
        "rbln_allocated_devices_total",
        "counter",
        _POOL,
        "Devices given to containers, each time that they were",
    ),
    Entry("rbln_list_streams", "gauge", _POOL, "ListAndWatch streams that are open"),
    Entry("rbln_list_streams_opened_total", "counter", _POOL, "ListAndWatch streams opened"),
    Entry("rbln_list_messages_total", "counter", _POOL, "ListAndWatch messages sent"),
    # Registration
    Entry("rbln_registrations_total", "counter", _POOL, "Times that the kubelet came to list it"),
    Entry("rbln_registration_failures_total", "counter", _POOL, "Registrations that failed"),
    Entry(
        "rbln_registration_duration_seconds",
        "histogram",
        _POOL,
        "From the moment when the pool was not listed and there was something to register with, "
        "to the kubelet's stream",
    ),
    Entry("rbln_kubelet_restarts_total", "counter", (), "Times that kubelet.sock was made anew"),
    # Workers
    Entry(
        "rbln_worker_restarts_total",
        "counter",
        ("pool", "cause"),
        "Workers that ended unasked, by how: a signal, exit-<code>, hang (no beat for 5 s), "
        "not-started, unknown (one forked by an earlier supervisor)",
    ),
    Entry("rbln_workers_adopted_total", "counter", _POOL, "Workers taken over when it started"),
    Entry(
        "rbln_device_look_duration_seconds", "histogram", _POOL, "Looks of a worker at one device"
    ),
    Entry(
        "rbln_device_looks_hung_total",
        "counter",
        _POOL,
        "Looks at a device that took more than 0.1 s",
    ),
    Entry("rbln_device_looks_hanging", "gauge", _POOL, "Looks at a device that hang now"),
    Entry(
        "rbln_simple_preferences_total",
        "counter",
        _POOL,
        "Preferred allocations that are legal and maybe not the best: there was too much to try",
    ),
    Entry(
        "rbln_failed_preferences_total",
        "counter",
        _POOL,
        "Preferred allocations without a preference, because choosing failed",
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
        "CDI specs that somebody else removed, and that were written again",
    ),
    Entry(
        "rbln_device_pod_info",
        "gauge",
        (*_POOL, "device", "namespace", "pod", "container"),
        "1 for each pod that holds a device; not with --no-device-series",
    ),
    # The node
    Entry(
        "rbln_pod_source_info",
        "gauge",
        ("source",),
        "Where it is known from which pods hold which devices: pods-api, pod-resources, "
        "checkpoint, none",
    ),
    Entry(
        "rbln_event_latency_seconds",
        "histogram",
        _POOL,
        "From the kernel's first word of a change to the message that tells the worker",
    ),
    Entry("rbln_kernel_events_total", "counter", ("kind",), "Events about devices: uevent, link"),
    Entry(
        "rbln_kernel_events_lost_total",
        "counter",
        ("kind",),
        "Times that the kernel dropped events; everything is looked at then",
    ),
    Entry("rbln_node_look_duration_seconds", "histogram", (), "Looks at the whole node"),
    Entry("rbln_node_look_failures_total", "counter", (), "Looks at the node that failed"),
    Entry("rbln_node_look_cpu_seconds_total", "counter", (), "CPU time of looks at the node"),
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
