"""What of an answer becomes which sample, in both formats."""

import math
import os
import re
from pathlib import Path

import msgspec
import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from rbln_supervisor.core.reporting.metrics import (
    DiscoveryMetrics,
    PoolMetrics,
    SupervisorMetrics,
)
from rbln_supervisor.core.reporting.unavailability import LossCause
from rbln_supervisor.core.status import (
    CounterName,
    DeviceStatus,
    NodeStatus,
    PodUse,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_supervisor.exporter.catalog import CATALOG
from rbln_supervisor.exporter.families import Page, fill_page
from rbln_supervisor.exporter.processes import fill_process
from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.counters import (
    BOUNDS_S,
    CLAIM_METHODS,
    Calls,
    Histogram,
    WorkerCounters,
    with_observation,
)
from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.pod_devices import PodSource
from rbln_worker.contract.problem import Code, make_problem

POOL = "rebellions.ai/ATOM"
DEVICES = {
    "a": DeviceStatus(
        "Healthy", "", 0, pods=(PodUse("ml", "train", "main", "u1", 5.0, PodSource.PODS_API),)
    ),
    "b": DeviceStatus("Healthy", "no node", 0, HealthPhase.SUSPECT, "node"),
    "c": DeviceStatus("Unhealthy", "down", 0, HealthPhase.UNHEALTHY, "link", warnings=("slow",)),
    "d": DeviceStatus("Unhealthy", "down", 0, HealthPhase.UNHEALTHY, "link"),
}
FIGURES = WorkerCounters(
    calls={
        "Allocate": Calls({"OK": 3, "INVALID_ARGUMENT": 1}, with_observation(Histogram(), 0.002))
    },
    allocated=7,
)
CLAIM_FIGURES = WorkerCounters(
    calls={"NodePrepareResources": Calls({"OK": 3, "api-server": 1})},
    slices=2,
    slice_writes=5,
    api_errors={"409": 1},
)
DRA_POOL = "rebellions.ai/npu"
EXPORTED = PoolStatus(
    *("serving", True, "plugin-watcher", "", "s.sock", WorkerStatus(7), {}),
    driver="npu.rebellions.ai",
    claims=(PreparedClaim("u", "ml", "npus", (DeviceId("a"),)),),
)
NO_FIGURES = WorkerCounters()
REFUSALS = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "DEADLINE_EXCEEDED")
"""Codes of rbln_worker/kubelet/allocation.py."""
STATUS = PoolStatus("serving", True, "kubelet-sock", "", "s.sock", WorkerStatus(7), DEVICES)  # noqa: FBT003
TROUBLED = msgspec.structs.replace(
    STATUS, problems=(make_problem(Code.CDI_SPEC_NOT_WRITTEN, "p", POOL),)
)
COUNTERS = {
    CounterName.KUBELET_RESTARTS: 2,
    CounterName.RELOADS: 1,
    CounterName.UEVENTS: 5,
    CounterName.LINK_CHANGES: 6,
    CounterName.LINK_CHANGES_LOST: 1,
    CounterName.WORKER_FRAMES_UNREADABLE: 4,
}
MEASURES = SupervisorMetrics(
    NodeStatus(
        SupervisorStatus(
            1,
            "0.1.0",
            3.5,
            ready=True,
            problems=(make_problem(Code.SOCKET_UNAVAILABLE, "p"),),
            counters=COUNTERS,
        ),
        {POOL: TROUBLED},
    ),
    DiscoveryMetrics(with_observation(Histogram(), 0.05), failed=1, cpu_s=0.01),
    {
        POOL: PoolMetrics(
            FIGURES,
            {"SIGKILL": 2},
            adoptions=1,
            lost=((LossCause("unhealthy", "link"), 2.5), (LossCause("worker-down"), 0.5)),
        ),
    },
)


def page(measures: SupervisorMetrics = MEASURES, *, device_series: bool = True) -> Page:
    made = Page()
    made.add_sample("rbln_up", 1)
    fill_page(made, measures, device_series=device_series)
    fill_process(made, os.getpid(), "worker", POOL)
    return made


def parsed(made: Page) -> list[Metric]:
    return list(text_string_to_metric_families(generate_latest(made).decode()))


def samples(made: Page) -> list[Sample]:
    return [sample for family in parsed(made) for sample in family.samples]


def value(made: Page, name: str, **labels: str) -> float:
    """Of the one sample with these labels."""
    (found,) = (
        one for one in samples(made) if one.name == name and labels.items() <= one.labels.items()
    )
    return float(found.value)


def test_a_pool_for_dra_counts_claims_and_slices() -> None:
    made = page(with_dra())
    pool = {"pool": DRA_POOL}
    assert value(made, "rbln_claims", **pool) == 1
    assert value(made, "rbln_slices", **pool) == 2
    assert value(made, "rbln_slice_writes_total", **pool) == 5
    assert value(made, "rbln_api_errors_total", **pool, status="409") == 1
    method = {"method": "NodePrepareResources"}
    assert value(made, "rbln_rpcs_total", **pool, **method, code="api-server") == 1
    assert value(made, "rbln_rpcs_total", **pool, **method, code="files") == 0
    methods = {
        one.labels["method"]
        for one in samples(made)
        if pool.items() <= one.labels.items() and one.name == "rbln_rpcs_total"
    }
    assert methods == set(CLAIM_METHODS)


def with_dra() -> SupervisorMetrics:
    """Metrics of a node with a further pool, which is exported by DRA."""
    status = msgspec.structs.replace(MEASURES.status, pools={POOL: TROUBLED, DRA_POOL: EXPORTED})
    pools = {**MEASURES.pools, DRA_POOL: PoolMetrics(CLAIM_FIGURES)}
    return msgspec.structs.replace(MEASURES, status=status, pools=pools)


def test_samples_of_every_kind() -> None:
    made = page()
    assert value(made, "rbln_rpcs_total", method="Allocate", code="OK") == 3
    assert value(made, "rbln_rpcs_total", method="Allocate", code="INVALID_ARGUMENT") == 1
    assert value(made, "rbln_rpcs_total", method="GetPreferredAllocation") == 0
    assert value(made, "rbln_allocated_devices_total") == 7
    assert value(made, "rbln_worker_restarts_total", cause="SIGKILL") == 2
    assert value(made, "rbln_worker_restarts_total", cause="hang") == 0
    assert value(made, "rbln_lost_allocatable_seconds_total", source="link") == 2.5
    assert value(made, "rbln_lost_allocatable_seconds_total", cause="kubelet-away") == 0
    assert value(made, "rbln_devices", phase="unhealthy", source="link") == 2
    assert value(made, "rbln_devices", phase="suspect", health="Healthy", source="node") == 1
    assert value(made, "rbln_devices_warned") == 1
    assert value(made, "rbln_pool_state", state="serving") == 1
    assert value(made, "rbln_pool_state", state="backoff") == 0
    assert value(made, "rbln_dropped_frames_total", kind="worker-frames-unreadable") == 4
    assert value(made, "rbln_supervisor_info", version="0.1.0") == 1
    assert value(made, "rbln_process_open_fds", process="worker", pool=POOL) >= 3
    assert value(made, "rbln_device_healthy", device="c") == 0
    assert value(made, "rbln_device_pod_info", device="a", namespace="ml", pod="train") == 1


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        *(
            ("rbln_rpcs_total", {"method": "Allocate", "code": code})
            for code in (*REFUSALS, "CANCELLED", "UNKNOWN")
        ),
        *(
            ("rbln_worker_restarts_total", {"cause": cause})
            for cause in ("SIGABRT", "exit-71", "exit-0", "hang", "not-started", "unknown")
        ),
        ("rbln_failed_writes_total", {}),
    ],
)
def test_counters_of_alerts_exist_before_their_first_event(
    name: str, labels: dict[str, str]
) -> None:
    """increase() sees nothing in a series whose first sample is 1."""
    made = Page()
    quiet = SupervisorMetrics(MEASURES.status, DiscoveryMetrics(), {POOL: PoolMetrics(NO_FIGURES)})
    fill_page(made, quiet, device_series=False)
    assert value(made, name, **labels) == 0


def test_a_histogram_is_cumulated_and_has_its_sum() -> None:
    made = page()
    name = "rbln_rpc_duration_seconds"
    counts = {
        float(one.labels["le"]): one.value
        for one in samples(made)
        if one.name == f"{name}_bucket" and one.labels["method"] == "Allocate"
    }
    assert counts == {bound: float(bound >= 0.002) for bound in (*BOUNDS_S, math.inf)}
    assert value(made, f"{name}_count", method="Allocate") == 1
    assert value(made, f"{name}_sum", method="Allocate") == 0.002


@pytest.mark.parametrize("counts", [(), (1,), (1,) * 99])
def test_a_histogram_of_another_version_has_all_buckets(counts: tuple[int, ...]) -> None:
    made = Page()
    made.add_histogram("rbln_event_latency_seconds", Histogram(counts), POOL)
    buckets = [one for one in samples(made) if one.name.endswith("_bucket")]
    assert len(buckets) == len(BOUNDS_S) + 1


def test_the_catalog_is_what_there_is() -> None:
    """Every metric is on a page that has everything, with these labels and of this kind."""
    families = {family.name: family for family in parsed(page(with_dra()))}
    assert set(families) == {entry.name.removesuffix("_total") for entry in CATALOG}
    for entry in CATALOG:
        family = families[entry.name.removesuffix("_total")]
        assert family.type == entry.kind
        labels = {frozenset(one.labels) - {"le"} for one in family.samples}
        assert labels == {frozenset(entry.labels)}


def test_names_are_as_prometheus_wants_them() -> None:
    for entry in CATALOG:
        assert re.fullmatch(r"rbln_[a-z_]+", entry.name)
        assert entry.name.endswith("_total") == (entry.kind == "counter")
        assert not re.search(r"_(ms|milliseconds|kb|mb)(_|$)", entry.name)
        if entry.kind == "histogram":
            assert entry.name.endswith("_seconds")
    assert len({entry.name for entry in CATALOG}) == len(CATALOG)


def test_both_formats_say_the_same() -> None:
    made = page()
    text = generate_openmetrics(made).decode()  # type: ignore[no-untyped-call]
    families = openmetrics_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    spoken = {
        (one.name, frozenset(one.labels.items()), one.value)
        for family in families
        for one in family.samples
    }
    assert spoken == {(one.name, frozenset(one.labels.items()), one.value) for one in samples(made)}


def test_no_device_series() -> None:
    without = samples(page(device_series=False))
    assert not any("device" in one.labels for one in without)
    held = sum(len(device.pods) for device in DEVICES.values())
    assert len(samples(page())) - len(without) == len(DEVICES) + held


def test_a_pool_whose_worker_has_not_spoken_has_no_counters_of_it() -> None:
    made = page(
        SupervisorMetrics(
            MEASURES.status, DiscoveryMetrics(), {POOL: PoolMetrics(figures=None, adoptions=0)}
        )
    )
    names = {one.name for one in samples(made)}
    assert "rbln_rpcs_total" not in names
    assert "rbln_workers_adopted_total" in names


def number_of_series(pools: int, devices: int) -> int:
    """Of a node where all is well; ``devices``: of each pool."""
    listed = {f"0000:{n:02x}:00.0": DeviceStatus("Healthy", "", 0) for n in range(devices)}
    status = msgspec.structs.replace(STATUS, devices=listed)
    names = [f"rebellions.ai/P{n}" for n in range(pools)]
    made = Page()
    made.add_sample("rbln_up", 1)
    fill_page(
        made,
        SupervisorMetrics(
            NodeStatus(SupervisorStatus(1, "0.1.0", 3.5, ready=True), dict.fromkeys(names, status)),
            MEASURES.discoveries,
            dict.fromkeys(names, PoolMetrics(WorkerCounters())),
        ),
        device_series=True,
    )
    for role, name in (("supervisor", ""), ("exporter", ""), *(("worker", one) for one in names)):
        fill_process(made, os.getpid(), role, name)
    return len(samples(made))


def test_the_page_says_how_many_series_there_are() -> None:
    base, one = number_of_series(0, 0), number_of_series(1, 0)
    pool, device = one - base, number_of_series(1, 1) - one
    assert device == 1
    assert number_of_series(4, 64) == base + 4 * pool + 256
    written = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    assert (
        f"**Series of a node.** {base}, plus {pool} for each pool and one for each device"
        in written
    )
    assert f"{base + 4 * pool + 256}\nwith four pools and 256 devices" in written


def test_hostile_labels_stay_labels() -> None:
    evil = 'x"\n\\} 1\nrbln_up 5'
    measures = SupervisorMetrics(
        NodeStatus(MEASURES.status.supervisor, {evil: STATUS}), DiscoveryMetrics(), {}
    )
    made = page(measures)
    assert value(made, "rbln_up") == 1
    assert value(made, "rbln_pool_state", pool=evil, state="serving") == 1
