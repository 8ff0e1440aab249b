"""Who holds a device: in the status, explained, as events and as metrics."""

import os
from pathlib import Path

import pytest

from tests.sim.exporter import exporting
from tests.sim.kubelet import kubelet_1_37
from tests.sim.pods import STARTED_AT
from tests.sim.stack import Stack
from tests.system.scene import ATOM, ATOMS, TWO_POOLS, eventually, pool_status, served

pytestmark = pytest.mark.system

A = ATOMS[0]


def test_the_pod_that_holds_a_device_is_named(tmp_path: Path) -> None:
    with (
        Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack,
        exporting(stack.run_dir, tmp_path) as exporter,
    ):
        served(stack)
        assert stack.status().supervisor.pod_source == "pods-api"
        stack.kubelet.running.admit("train", ATOM, [A])
        seen = pool_status(
            stack, ATOM, lambda seen: any(one.pod for one in seen.devices[A].pods), what="named"
        )
        (pod,) = seen.devices[A].pods
        assert (pod.namespace, pod.pod, pod.container) == ("ml", "train", "main")
        assert (pod.uid, pod.since) == ("uid-ml-train", STARTED_AT)
        assert all(not device.pods for one, device in seen.devices.items() if one != A)
        assert "ml/train" in stack.ctl("status").stdout
        explained = stack.ctl("explain", A).stdout
        assert "used by pod ml/train, container main, for " in explained
        assert "(pods-api)" in explained
        labels = {"pool": ATOM, "device": A, "namespace": "ml", "pod": "train"}
        assert exporter.scrape().value("rbln_device_pod_info", **labels) == 1
        assert exporter.scrape().value("rbln_pod_source_info", source="pods-api") == 1
        stack.kubelet.running.delete("train")
        pool_status(stack, ATOM, lambda seen: not seen.devices[A].pods, what="released")
        assert "ml/train" not in stack.ctl("status").stdout


def events(stack: Stack) -> list[tuple[str, str]]:
    lines = stack.ctl("events", "--device", A).stdout.splitlines()[1:]
    return [
        (word, line.rpartition(": ")[2])
        for line in lines
        for word in ("holds", "released")
        if f"pod {word}" in line
    ]


def test_each_transition_is_an_event_once_over_restarts() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("train", ATOM, [A])
        held = [("holds", "pod ml/train")]
        eventually(lambda: events(stack) == held, what="the event")
        stack.stop()
        stack.start()
        served(stack)
        pool_status(
            stack, ATOM, lambda seen: any(one.pod for one in seen.devices[A].pods), what="known"
        )
        assert events(stack) == held
        stack.kubelet.running.delete("train")
        both = [*held, ("released", "pod ml/train")]
        eventually(lambda: events(stack) == both, what="and its end")


def test_a_pod_that_ended_long_ago_holds_nothing_after_a_start() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.kubelet.running.admit("train", ATOM, [A])
        stack.stop()
        stack.kubelet.running.delete("train")
        an_hour_ago = stack.kubelet.socket.stat().st_mtime - 3600
        os.utime(stack.kubelet.socket, (an_hour_ago, an_hour_ago))
        stack.start()
        served(stack)
        status = stack.wait_status(
            lambda status: status.supervisor.pod_source == "pod-resources",
            30.0,
            what="the kubelet was asked",
        )
        assert not status.pools[ATOM].devices[A].pods


def test_before_1_37_it_is_pod_resources() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        assert stack.status().supervisor.pod_source == "pod-resources"
        stack.kubelet.running.admit("train", ATOM, [A])
        seen = pool_status(
            stack, ATOM, lambda seen: any(one.pod for one in seen.devices[A].pods), what="named"
        )
        assert seen.devices[A].pods[0].pod == "train"
