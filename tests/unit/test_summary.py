"""A pool as people see it."""

import msgspec
import pytest

from rbln_supervisor.core.config.fields import Complaint
from rbln_supervisor.core.config.node_config import InvalidPool
from rbln_supervisor.core.reporting.pool_summary import (
    NO_DEVICES,
    NO_WORKER,
    NOT_CHECKED_YET,
    PoolSnapshot,
    invalid_status,
    pool_status,
)
from rbln_supervisor.core.status import DeviceStatus, PodUse, PoolStatus
from rbln_supervisor.core.workers.desired_state import DesiredState
from rbln_supervisor.core.workers.lifecycle import Child, State
from rbln_supervisor.core.workers.managed_pool import KnownWorker, ManagedPool
from rbln_worker.contract.claims import PreparedClaim
from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.health import HealthPhase, Judged, Verdict
from rbln_worker.contract.messages import Phase, Report
from rbln_worker.contract.pod_devices import PodDevice, PodSource
from rbln_worker.contract.pool import PoolSpec
from rbln_worker.contract.problem import Code, make_problem

A, B = DeviceId("0000:20:00.0"), DeviceId("0000:21:00.0")
POOL = PoolSpec("rebellions.ai", "ATOM", "accelerator")


def device(name: DeviceId, gone: str | None = None) -> Device:
    return Device(name, PciFunction(Bdf(name), "1eff", "1120", 0x12, "rebellions", 1), gone=gone)


ROSTER = DesiredState(POOL, {A: device(A), B: device(B)}, generation=1)
SERVING = Report(
    Phase.REGISTERED,
    registration="plugin-watcher",
    endpoint="x.sock",
    devices=(Judged(A, Verdict(healthy=True)), Judged(B, Verdict(healthy=False, reason="why"))),
)


def told(
    state: State,
    report: Report | None = None,
    *,
    roster: DesiredState | None = ROSTER,
    deadline: float | None = None,
) -> PoolStatus:
    child = Child(state=state, deadline=deadline, restarts=2)
    pool = ManagedPool(
        POOL.name, "", "", desired=roster, child=child, worker=KnownWorker(7, report=report)
    )
    return pool_status(PoolSnapshot(pool, "killed by SIGKILL 1 s ago", ("a line",)), 100.0)


@pytest.mark.parametrize(
    ("state", "report", "word", "reason"),
    [
        (State.NONE, None, "waiting", NO_DEVICES),
        (State.STARTING, None, "starting", "its worker is starting"),
        (State.UP, None, "starting", "its worker is starting"),
        (State.UP, Report(Phase.WAITING, "for x"), "waiting", "for x"),
        (State.UP, Report(Phase.REGISTERING, "no"), "starting", "no"),
        (State.UP, Report(Phase.REGISTERING), "starting", "the kubelet has not listed it yet"),
        (State.UP, SERVING, "serving", ""),
        (State.DOWN, None, "backoff", "its worker ended: killed by SIGKILL 1 s ago"),
        (
            State.ADOPTING,
            None,
            "starting",
            "the worker of an earlier supervisor has not said hello yet",
        ),
        (State.ADOPTING, SERVING, "serving", ""),
        (State.KILLED, SERVING, "backoff", "its worker did not answer and is being killed"),
        (State.LEAVING, SERVING, "starting", "its former worker is leaving"),
        (
            State.WITHDRAWING,
            SERVING,
            "starting",
            "its former worker is withdrawing its ResourceSlices",
        ),
    ],
)
def test_a_word_and_a_reason(state: State, report: Report | None, word: str, reason: str) -> None:
    seen = told(state, report)
    assert (seen.state, seen.reason) == (word, reason)
    assert seen.registered is (word == "serving")


def test_every_state_has_a_word() -> None:
    for state in State:
        assert told(state).state in {"waiting", "starting", "backoff"}


def test_how_it_is_registered() -> None:
    seen = told(State.UP, SERVING)
    assert (seen.registration, seen.endpoint) == ("plugin-watcher", "x.sock")
    unknown = told(State.UP, Report(Phase.REGISTERED))
    assert (unknown.registration, unknown.endpoint) == (None, None)


def test_the_worker() -> None:
    seen = told(State.DOWN, deadline=101.26).worker
    assert (seen.pid, seen.restarts, seen.last_exit, seen.last_log, seen.backoff_s) == (
        7,
        2,
        "killed by SIGKILL 1 s ago",
        ("a line",),
        1.3,
    )
    assert told(State.DOWN, deadline=99.0).worker.backoff_s == 0.0
    assert told(State.UP, deadline=101.0).worker.backoff_s is None


def test_devices_are_as_the_worker_says_and_as_the_node_does() -> None:
    seen = told(State.UP, SERVING).devices
    assert {name: (d.health, d.reason, d.numa) for name, d in seen.items()} == {
        A: ("Healthy", "", 1),
        B: ("Unhealthy", "why", 1),
    }
    assert [d.phase for d in seen.values()] == ["healthy", "unhealthy"]
    gone = DesiredState(POOL, {A: device(A, "unplugged"), B: device(B)})
    assert told(State.UP, SERVING, roster=gone).devices[A].phase == "unhealthy"
    assert told(State.UP, SERVING, roster=gone).devices[A].health == "Unhealthy"
    assert told(State.UP, SERVING, roster=gone).devices[A].reason == "unplugged"


def test_all_that_a_worker_says_of_a_device_is_told() -> None:
    verdict = Verdict(
        healthy=True,
        reason="silent",
        phase=HealthPhase.UNKNOWN,
        source="files",
        since=5.0,
        warnings=("slow",),
    )
    report = msgspec.structs.replace(SERVING, devices=(Judged(A, verdict),))
    assert told(State.UP, report).devices[A] == DeviceStatus(
        "Healthy", "silent", 1, HealthPhase.UNKNOWN, "files", 5.0, ("slow",)
    )


def test_devices_that_nobody_looks_at_are_not_healthy() -> None:
    for state, reason in ((State.UP, NOT_CHECKED_YET), (State.DOWN, NO_WORKER)):
        for one in told(state).devices.values():
            assert (one.health, one.reason) == ("Unhealthy", reason)
    assert told(State.NONE, roster=None).devices == {}


CLAIM = PreparedClaim("u1", "ml", "npus", (A,), ("ml/train-0", "ml/train-1"), since=50.0)


def dra_status(*holders: PodDevice, report: Report = SERVING) -> PoolStatus:
    report = msgspec.structs.replace(report, claims=(CLAIM,))
    pool = ManagedPool(
        *(POOL.name, "", "", "npu.rebellions.ai"),
        desired=ROSTER,
        child=Child(state=State.UP),
        worker=KnownWorker(7, driver="npu.rebellions.ai", report=report),
        holders={A: holders},
        pod_source=PodSource.PODS_API,
    )
    return pool_status(PoolSnapshot(pool, None), 100.0)


def test_a_dra_pool_has_claims_instead_of_allocations() -> None:
    status = dra_status()
    assert status.driver == "npu.rebellions.ai"
    pods = ("ml/train-0", "ml/train-1")
    assert status.claims == (PreparedClaim("u1", "ml", "npus", (A,), pods, 50.0),)
    assert status.devices[A].pods == (
        PodUse("ml", "train-0", "", "", 50.0, PodSource.CLAIMS, "ml/npus"),
        PodUse("ml", "train-1", "", "", 50.0, PodSource.CLAIMS, "ml/npus"),
    )
    assert status.devices[B].pods == ()


def test_a_pod_that_the_kubelet_lists_with_its_claim_is_shown_once() -> None:
    holder = PodDevice(POOL.name, A, "ml", "train-0", "main", since=60.0, claim="ml/npus")
    assert dra_status(holder).devices[A].pods == (
        PodUse("ml", "train-0", "main", "", 60.0, PodSource.POD_RESOURCES, "ml/npus"),
        PodUse("ml", "train-1", "", "", 50.0, PodSource.CLAIMS, "ml/npus"),
    )


def test_a_dra_pool_is_not_ready_before_its_slices_are_published() -> None:
    status = dra_status()
    assert not status.prevents_readiness
    waiting = dra_status(report=msgspec.structs.replace(SERVING, awaits_slices=True))
    assert (waiting.state, waiting.prevents_readiness) == ("starting", True)
    for code, prevents in (
        (Code.SLICES_NOT_PUBLISHED, True),
        (Code.API_SERVER_UNREACHABLE, False),
        (Code.SLICE_FIELDS_DROPPED, False),
    ):
        problem = make_problem(code, "x", "npu.rebellions.ai")
        changed = msgspec.structs.replace(status, problems=(problem,))
        assert changed.prevents_readiness is prevents


def test_an_invalid_pool() -> None:
    complaints = (Complaint("resourceList[0].x", "wrong"), Complaint("resourceList[0].y", "odd"))
    seen = invalid_status(InvalidPool("rebellions.ai/X", complaints))
    assert (seen.state, seen.registered, seen.devices) == ("invalid", False, {})
    assert seen.reason == "resourceList[0].x: wrong; resourceList[0].y: odd"


def test_ready_is_every_valid_pool_that_has_devices() -> None:
    serving, starting = told(State.UP, SERVING), told(State.STARTING)
    empty = told(State.NONE, roster=None)
    invalid = invalid_status(InvalidPool("x", (Complaint("p", "t"),)))
    prevents = [one.prevents_readiness for one in (serving, empty, invalid, starting)]
    assert prevents == [False, False, False, True]
