"""What PreStartContainer costs: a container that starts while its pool's worker hangs."""

import os
import signal
from pathlib import Path
from time import monotonic

import pytest

from tests.e2e.cluster.bench import Bench
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.node import HostNode
from tests.e2e.cluster.pod_report import PodReport
from tests.e2e.cluster.pods import given
from tests.e2e.cluster.reboot_scene import npus_of, unit
from tests.system.scene import ATOM

DEADLINE_S = 90.0


@pytest.mark.parametrize(
    ("check", "number"),
    [
        ("always", signal.SIGSTOP),
        ("always", signal.SIGKILL),
        ("auto", signal.SIGSTOP),
        ("never", signal.SIGSTOP),
    ],
)
def test_a_container_starts_again_beside_a_worker_that_is_away(
    cluster: Cluster,
    bench: Bench,
    node: HostNode,
    home: Path,
    pod_report: PodReport,
    check: str,
    number: signal.Signals,
) -> None:
    with unit(cluster, node, home, "--pre-start-check", check) as plugin:
        bench.all_allocatable()
        pod = bench.pod({ATOM: 1}, restarts=True)
        container = pod.running()
        (device,) = given(container, ATOM)
        worker = plugin.worker(ATOM)
        began = monotonic()
        os.kill(worker, number)
        cluster.kill_container(container.id)
        again = pod.restarted(container, deadline_s=DEADLINE_S)
        seconds = monotonic() - began
        assert npus_of(again, node) == {device}
        plugin.wait(
            lambda status: status.pools[ATOM].worker.pid not in {None, worker},
            what="the worker is replaced",
        )
        what = "hangs (SIGSTOP)" if number is signal.SIGSTOP else "dies"
        pod_report.add(
            f"its pool's worker {what}, and its container ends; --pre-start-check {check}",
            "unit",
            cdi=False,
            had=f"{device} at {node.path(device)}",
            has="the same",
            shown="Running, restarted in place; the seconds are until then",
            seconds=seconds,
        )
