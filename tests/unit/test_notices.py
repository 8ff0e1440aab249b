"""What a service manager is told, and that nothing is told twice."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbln_supervisor.core.reporting.systemd import (
    MAX_STATUS_CHARACTERS,
    READY_TIMEOUT_S,
    SETTLED,
    ServiceState,
    due_messages,
    misses_devices,
    status_line,
)
from rbln_supervisor.core.status import (
    DeviceStatus,
    NodeStatus,
    PodUse,
    PoolStatus,
    SupervisorStatus,
    WorkerStatus,
)
from rbln_supervisor.reporting.systemd import SystemdNotifier, systemd_notifier
from rbln_worker.contract.health import HealthPhase
from rbln_worker.contract.pod_devices import PodSource


def facts(**changed: object) -> ServiceState:
    usual: dict[str, object] = {"ready": True, "leaving": False, "reloading": False}
    return ServiceState(**{**usual, "hangups": 0, "status": "all is well", **changed})  # type: ignore[arg-type]


def told(
    said: ServiceState, now: ServiceState, age_s: float = 1.0
) -> tuple[ServiceState, list[list[str]]]:
    said, texts = due_messages(said, now, age_s, 1_500_000)
    return said, [text.split("\n") for text in texts]


def test_a_life() -> None:
    said, lines = told(ServiceState(), facts(ready=False, status="looking"))
    assert lines == [["STATUS=looking"]]
    said, lines = told(said, facts())
    assert lines == [["READY=1", "STATUS=all is well"]]
    said, lines = told(said, facts())
    assert lines == []
    said, lines = told(said, facts(reloading=True))
    assert lines == [["RELOADING=1", "MONOTONIC_USEC=1500000"]]
    said, lines = told(said, facts(reloading=True, status="one pool more"))
    assert lines == [["STATUS=one pool more"]]
    said, lines = told(said, facts(status="one pool more"))
    assert lines == [["READY=1"]]
    said, lines = told(said, facts(leaving=True, ready=False, status="leaving"))
    assert lines == [["STOPPING=1", "STATUS=leaving"]]
    assert told(said, facts(leaving=True, ready=False, status="leaving"))[1] == []


def test_a_reload_that_is_refused_at_once_was_one_all_the_same() -> None:
    said, _ = told(ServiceState(), facts())
    said, lines = told(said, facts(hangups=1))
    assert lines == [["RELOADING=1", "MONOTONIC_USEC=1500000"], ["READY=1"]]
    assert told(said, facts(hangups=1))[1] == []


def test_a_second_signal_during_a_reload_is_answered_by_a_newer_time() -> None:
    said, _ = told(ServiceState(), facts())
    said, _ = told(said, facts(hangups=1, reloading=True))
    said, lines = told(said, facts(hangups=2, reloading=True))
    assert lines == [["RELOADING=1", "MONOTONIC_USEC=1500000"]]
    assert told(said, facts(hangups=2))[1] == [["READY=1"]]


def test_a_start_is_over_at_last_whatever_is_missing() -> None:
    unready = facts(ready=False)
    assert told(ServiceState(), unready, READY_TIMEOUT_S - 0.01)[1] == [["STATUS=all is well"]]
    assert told(ServiceState(), unready, READY_TIMEOUT_S)[1] == [["READY=1", "STATUS=all is well"]]


FACTS = st.builds(
    ServiceState,
    ready=st.booleans(),
    leaving=st.booleans(),
    reloading=st.booleans(),
    hangups=st.integers(0, 3),
    status=st.sampled_from(["a", "b"]),
)


@given(st.lists(st.tuples(FACTS, st.floats(0, 20)), max_size=20))
def test_ready_comes_first_and_reloading_never_stays(
    life: list[tuple[ServiceState, float]],
) -> None:
    said = ServiceState()
    states = []
    for now, age_s in life:
        said, lines = told(said, now, age_s)
        states += [
            line for text in lines for line in text if line.endswith("=1") and "USEC" not in line
        ]
        assert told(said, now, age_s)[1] == [], "told once"
    assert set(states) <= {"READY=1", "RELOADING=1", "STOPPING=1"}
    if "READY=1" in states and "RELOADING=1" in states:
        assert states.index("READY=1") < states.index("RELOADING=1")
    if states and states[-1] == "RELOADING=1":
        assert said.reloading, "somebody still has to say that it is over"


@given(st.lists(FACTS, max_size=20))
def test_a_reload_that_is_over_is_said_to_be(life: list[ServiceState]) -> None:
    said, _ = told(ServiceState(), facts())
    state = "READY=1"
    for now in life:
        said, lines = told(said, now)
        state = next(
            (
                line
                for text in reversed(lines)
                for line in text
                if line.endswith("ING=1") or line == "READY=1"
            ),
            state,
        )
        if not now.leaving and not said.leaving and state != "STOPPING=1":
            assert (state == "RELOADING=1") == now.reloading


# The status line


def pool(state: str, *healths: str, reason: str = "") -> PoolStatus:
    return PoolStatus(
        state=state,  # type: ignore[arg-type]
        registered=state == "serving",
        registration=None,
        reason=reason,
        endpoint=None,
        worker=WorkerStatus(),
        devices={
            f"0000:2{number}:00.0": DeviceStatus(health=health, reason="", numa=0)  # type: ignore[arg-type]
            for number, health in enumerate(healths)
        },
    )


def test_the_status_line() -> None:
    pools = {
        "x/A": pool("serving", "Healthy", "Unhealthy"),
        "x/B": pool("waiting", reason="no device of the node matches its selectors"),
        "x/C": pool("starting", "Healthy"),
    }
    assert status_line(pools) == (
        "1 of 3 pools serve 1 of 2 devices; "
        "x/B waiting (no device of the node matches its selectors); x/C starting"
    )
    assert not all(one.state in SETTLED for one in pools.values())
    del pools["x/C"]
    assert all(one.state in SETTLED for one in pools.values())


def one_device(source: str, phase: HealthPhase, *, held: bool) -> dict[str, PoolStatus]:
    use = PodUse("ml", "train", "main", "uid", None, PodSource.CHECKPOINT)
    device = DeviceStatus(
        "Unhealthy", "why", 0, phase=phase, source=source, pods=(use,) if held else ()
    )
    return {"x/A": msgspec.structs.replace(pool("waiting"), devices={"0000:20:00.0": device})}


def test_a_pods_device_that_may_come_is_waited_for_before_there_is_a_kubelet() -> None:
    unplugged = one_device("sysfs", HealthPhase.UNHEALTHY, held=True)
    assert misses_devices(unplugged, PodSource.CHECKPOINT)
    assert misses_devices(one_device("node", HealthPhase.SUSPECT, held=True), PodSource.CHECKPOINT)
    assert misses_devices(one_device("", HealthPhase.UNHEALTHY, held=True), PodSource.CHECKPOINT)
    assert misses_devices(one_device("x", HealthPhase.PROBATION, held=True), PodSource.CHECKPOINT)
    assert not misses_devices(unplugged, PodSource.PODS_API)
    assert not misses_devices(unplugged, None)


@pytest.mark.parametrize(
    "pools",
    [
        one_device("sysfs", HealthPhase.UNHEALTHY, held=False),
        one_device("npu-status", HealthPhase.UNHEALTHY, held=True),
        one_device("pods", HealthPhase.UNHEALTHY, held=True),
        one_device("", HealthPhase.HEALTHY, held=True),
    ],
)
def test_what_no_driver_brings_back_is_not_waited_for(pools: dict[str, PoolStatus]) -> None:
    assert not misses_devices(pools, PodSource.CHECKPOINT)


@given(st.text(), st.text(min_size=1))
def test_it_is_one_line_whatever_the_reason(reason: str, name: str) -> None:
    line = status_line({name: pool("backoff", reason=reason * 50)})
    assert len(line) <= MAX_STATUS_CHARACTERS
    assert line.isprintable()
    assert f"STATUS={line}".encode()


# What the environment asks for


def test_without_an_address_nothing_is_sent() -> None:
    environment = {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1000000", "HOME": "/"}
    asked = systemd_notifier(environment)
    assert asked.next_deadline == float("inf")
    assert environment == {"HOME": "/"}
    asked.send_due(lambda: pytest.fail("nobody asks"), at_once=True)


@pytest.mark.parametrize("address", ["/", "@", "relative", "vsock:2:9", " /run/x"])
def test_an_address_that_is_no_socket_is_logged(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = systemd_notifier({"NOTIFY_SOCKET": address})
    asked.send_due(facts, at_once=True)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("interval", ["0", "-5", "1e6", "abc", ""])
def test_an_interval_that_is_none(interval: str) -> None:
    asked = systemd_notifier({"NOTIFY_SOCKET": "/nowhere/s", "WATCHDOG_USEC": interval})
    assert asked._watchdog_at == float("inf")


def test_a_watchdog_that_is_somebody_elses() -> None:
    asked = systemd_notifier({"NOTIFY_SOCKET": "/n/s", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"})
    assert asked._watchdog_at == float("inf")


def test_nobody_hears_and_that_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    asked = SystemdNotifier("/nowhere/at/all", 30.0)
    for _ in range(3):
        asked.send_due(facts, at_once=True)
    (record,) = caplog.records
    assert record.message == "no report to systemd (NOTIFY_SOCKET): No such file or directory"


# What a kubelet's probe is told


def node_of(pools: dict[str, PoolStatus], *, ready: bool) -> NodeStatus:
    return NodeStatus(SupervisorStatus(1, "0.1.0", 1.0, ready=ready), pools)


def test_what_keeps_a_node_from_being_ready() -> None:
    pools = {
        "x/A": pool("serving", "Healthy"),
        "x/B": pool("starting", "Healthy", reason="the kubelet has not listed it yet"),
        "x/C": pool("invalid", reason="no"),
        "x/D": pool("waiting"),
    }
    assert node_of(pools, ready=True).unready_reasons == ()
    assert node_of(pools, ready=False).unready_reasons == (
        "x/B is starting: the kubelet has not listed it yet",
    )
    assert node_of({}, ready=False).unready_reasons == (
        "not ready: the first discovery is running, or the supervisor is stopping",
    )
