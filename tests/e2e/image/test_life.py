"""A container's life: listed, asked, its supervisor killed, stopped."""

import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from rbln_supervisor.core.status import NodeStatus
from tests.e2e.image.container import GRACE_S, Container
from tests.e2e.image.engine import Engine
from tests.e2e.report import Report
from tests.sim.kubelet import SimKubelet, kubelet_1_34, kubelet_1_37
from tests.system.scene import ATOM, ATOMS, VM, eventually, untouched

CAPABILITIES = "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/1/status"
ZOMBIES = "grep -l '^State:.Z' /proc/[0-9]*/status; true"


def test_pools_are_listed_and_devices_given_out(container: Container, report: Report) -> None:
    listed(container)
    report.add(
        "podman run → both pools listed",
        "4 of 4 and 2 of 2; a second of it is supervisord's, which looks at its programs so often",
        monotonic() - container.started_at,
    )
    reply = container.kubelet.allocate(ATOM, [ATOMS[:2]]).container_responses[0]
    assert [spec.host_path for spec in reply.devices] == ["/dev/rbln0", "/dev/rsd0", "/dev/rbln1"]
    assert reply.envs["PCIDEVICE_REBELLIONS_AI_ATOM"] == ",".join(ATOMS[:2])

    shown = container.run("rbln-ctl", "status")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "● ready" in shown.stdout
    assert shown.stdout.count("serving") == 2

    eventually(lambda: container.scraped("/readyz") == 200, what="the exporter finds it ready")
    assert container.scraped("/metrics") == 200

    # All of that without a capability, and without any place to write to but its run directory.
    told = container.run("sh", "-c", CAPABILITIES).stdout.split()
    assert told == ["CapEff:", f"{0:016x}", "CapBnd:", f"{0:016x}", "NoNewPrivs:", "1"]
    assert container.run("touch", "/tmp/x").returncode == 1


def test_a_killed_supervisor_is_nobodys(container: Container, report: Report) -> None:
    first = listed(container)
    with untouched(container, ATOM, VM):
        container.signal(first.supervisor.pid, signal.SIGKILL)
        began = monotonic()
        second = container.wait_status(
            lambda status: (
                status.supervisor.pid != first.supervisor.pid and status.supervisor.ready
            ),
            what="supervisord has started another one",
        )
    report.add(
        "rbln-supervisor is killed inside",
        "same workers, same streams, no message to the kubelet, no failed call",
        monotonic() - began,
    )
    assert workers(second) == workers(first)

    # Whose parent is gone is the first process's to reap, and the next supervisor's to replace.
    container.signal(workers(second)[ATOM], signal.SIGKILL)
    container.wait_status(
        lambda status: (
            workers(status)[ATOM] not in {0, workers(second)[ATOM]}
            and status.pools[ATOM].state == "serving"
        ),
        what="the pool has another worker",
    )
    eventually(lambda: container.run("sh", "-c", ZOMBIES).stdout == "", what="no zombie is left")

    stopped = container.stop()
    assert (stopped.code, container.sockets()) == (0, set())


@pytest.mark.parametrize(
    ("kubelet", "way"), [(kubelet_1_37, "kubelet-sock"), (kubelet_1_34, "plugin-watcher")]
)
def test_a_stop_is_clean(
    engine: Engine, report: Report, kubelet: Callable[[Path], SimKubelet], way: str
) -> None:
    with Container(engine, arguments=(f"--registration={way}",), kubelet=kubelet) as container:
        listed(container)
        assert container.sockets()
        stopped = container.stop()
        assert stopped.code == 0
        assert stopped.seconds < GRACE_S
        assert container.sockets() == set()
        log = container.log
        assert log.count("worker left") == log.count("how=exit code 0") == 2
        assert "stopped: rbln-supervisor (exit status 0)" in log
        assert "stopped: rbln-exporter (exit status 0)" in log
        assert "SIGKILL" not in log
    report.add(
        f"podman stop ({way})", "exit code 0, both workers left, no socket is left", stopped.seconds
    )


def test_it_starts_again_after_it_was_killed(container: Container) -> None:
    """What a container leaves that nobody could stop is swept by the next one."""
    listed(container)
    dead = container.sockets()
    assert dead
    container.kill()
    assert container.sockets() == dead
    container.start_again()
    listed(container)
    eventually(lambda: not container.sockets() & dead, what="what was left is removed")
    assert container.stop().code == 0
    assert container.sockets() == set()


def listed(container: Container) -> NodeStatus:
    """The status, once the kubelet has every device."""
    container.kubelet.wait_listed(ATOM, 4)
    container.kubelet.wait_listed(VM, 2)
    return container.status()


def workers(status: NodeStatus) -> dict[str, int]:
    """Their pids inside by pool; 0 where there is none."""
    return {name: pool.worker.pid or 0 for name, pool in status.pools.items()}
