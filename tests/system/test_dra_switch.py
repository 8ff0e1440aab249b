"""A pool that is exported in another way: one export is gone before the other one begins."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import pytest

from rbln_supervisor.core.control.protocol import (
    DryRun,
    DryRunReply,
    ErrorReply,
    Metrics,
    MetricsReply,
    Reload,
    ReloadReply,
)
from rbln_supervisor.core.status import PoolStatus
from rbln_supervisor.ctl.client import send_request
from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.pool import PoolName
from rbln_worker.contract.problem import Code
from tests.sim import processes
from tests.sim.api_server import ApiRequest, RawAnswer, SimApiServer
from tests.sim.dra_kubelet import Claim as AllocatedClaim
from tests.sim.dra_records import Claim
from tests.sim.kubelet import SimKubelet
from tests.sim.stack import Stack
from tests.system.dra_scene import DRIVER, NODE, put_claim, result
from tests.system.scene import ATOM, ATOMS, VM, VM_POOL, allocatable, config, eventually, pool

pytestmark = pytest.mark.system

PLUGIN_POOL: Final = pool("ATOM", drivers=["rebellions"])
DRA_POOL: Final = {**PLUGIN_POOL, "export": "dra", "dra": {"driverName": DRIVER}}


class Scene(NamedTuple):
    """A node with a kubelet that knows DRA, and an API server."""

    stack: Stack
    api: SimApiServer

    @property
    def kubelet(self) -> SimKubelet:
        return self.stack.kubelet

    def slices(self) -> list[dict[str, Any]]:
        objects = dict(self.api.store.objects)
        return [one for path, one in objects.items() if "/resourceslices/" in path]

    def devices(self) -> dict[str, Any]:
        """The devices of all slices, by name."""
        return {one["name"]: one for each in self.slices() for one in each["spec"]["devices"]}

    def reload(self, *pools: dict[str, object], force: bool = False) -> ReloadReply | ErrorReply:
        self.stack.write_config(config(*pools))
        reply = send_request(self.stack.run_dir, Reload(force=force))
        assert isinstance(reply, ReloadReply | ErrorReply)
        return reply

    def wait_exported(self, count: int = len(ATOMS)) -> None:
        """Wait until the pool is exported by DRA, and by nothing else."""
        eventually(lambda: len(self.devices()) == count, what="devices in slices")
        self.stack.wait_status(
            lambda s: s.pools[ATOM].registered and s.pools[ATOM].driver == DRIVER, what="a driver"
        )
        eventually(lambda: self.kubelet.dra.endpoints(DRIVER), what="the kubelet has connected")

    def pool(self) -> PoolStatus:
        return self.stack.status().pools[ATOM]


@contextmanager
def node(folder: Path, *pools: dict[str, object]) -> Iterator[Scene]:
    with SimApiServer(folder) as api:
        api.store.objects[f"/api/v1/nodes/{NODE}"] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NODE, "uid": "node-uid"},
        }
        with Stack(
            config(*pools, VM_POOL),
            arguments=("--node-name", NODE, "--kubeconfig", str(api.kubeconfig())),
            kubelet=lambda place: SimKubelet(place, plugin_watcher=True),
        ) as stack:
            yield Scene(stack, api)


def test_from_the_device_plugin_api_to_dra_and_back(tmp_path: Path) -> None:
    with node(tmp_path, PLUGIN_POOL) as scene:
        allocatable(scene.stack, ATOM, len(ATOMS))
        assert (scene.slices(), scene.pool().driver) == ([], "")
        first = scene.pool().worker.pid
        other = scene.stack.status().pools[VM].worker.pid
        reply = scene.reload(DRA_POOL, VM_POOL)
        assert isinstance(reply, ReloadReply)
        assert reply.plan.pools[PoolName(ATOM)].new_export == f"by DRA ({DRIVER})"
        scene.wait_exported()
        assert first
        assert processes.has_ended(first, 5.0)
        assert scene.kubelet.resource(ATOM).endpoint is None, "its socket is gone"
        assert scene.kubelet.resource(ATOM).allocatable == 0

        reply = scene.reload(PLUGIN_POOL, VM_POOL)
        assert isinstance(reply, ReloadReply)
        allocatable(scene.stack, ATOM, len(ATOMS))
        assert scene.slices() == [], "slices are gone before the kubelet has the resource"
        assert scene.kubelet.dra.endpoints(DRIVER) == ()
        assert scene.stack.status().pools[VM].worker.pid == other, "others are not affected"


def test_a_dry_run_says_what_dra_lacks(tmp_path: Path) -> None:
    with node(tmp_path, PLUGIN_POOL) as scene:
        allocatable(scene.stack, ATOM, len(ATOMS))
        kubeconfig = scene.api.folder / "kubeconfig"
        kubeconfig.rename(kubeconfig.with_name("aside"))
        scene.stack.write_config(config(DRA_POOL, VM_POOL))
        dry = send_request(scene.stack.run_dir, DryRun(scene.stack.config_file.read_bytes()))
        assert isinstance(dry, DryRunReply)
        assert [line.split(":")[0] for line in dry.warnings] == [str(kubeconfig)]


def test_a_dra_pool_that_is_removed_leaves_no_slices(tmp_path: Path) -> None:
    with node(tmp_path, DRA_POOL) as scene:
        scene.wait_exported()
        worker = scene.pool().worker.pid
        assert worker
        assert isinstance(scene.reload(VM_POOL), ReloadReply)
        eventually(lambda: not scene.slices(), what="no slices")
        assert processes.has_ended(worker, 10.0)


def test_a_worker_of_a_pool_that_was_removed_meanwhile_leaves_no_slices(tmp_path: Path) -> None:
    with node(tmp_path, DRA_POOL) as scene:
        scene.wait_exported()
        scene.stack.kill()
        scene.stack.write_config(config(VM_POOL))
        scene.stack.start()
        eventually(lambda: not scene.slices(), what="no slices")


def test_an_export_that_changed_meanwhile_replaces_the_other_one(tmp_path: Path) -> None:
    with node(tmp_path, DRA_POOL) as scene:
        scene.wait_exported()
        scene.stack.kill()
        scene.stack.write_config(config(PLUGIN_POOL, VM_POOL))
        scene.stack.start()
        allocatable(scene.stack, ATOM, len(ATOMS))
        assert scene.slices() == []


def test_a_supervisor_that_stops_leaves_slices_to_the_next_one(tmp_path: Path) -> None:
    with node(tmp_path, DRA_POOL) as scene:
        scene.wait_exported()
        before = {one["metadata"]["uid"] for one in scene.slices()}
        assert scene.stack.stop().code == 0
        assert {one["metadata"]["uid"] for one in scene.slices()} == before
        scene.stack.start()
        scene.wait_exported()
        assert {one["metadata"]["uid"] for one in scene.slices()} == before


def test_an_api_server_that_is_gone_holds_a_change_up_for_seconds_only(tmp_path: Path) -> None:
    with node(tmp_path, DRA_POOL) as scene:
        scene.wait_exported()

        def hang(_: ApiRequest) -> RawAnswer:
            return RawAnswer(end="hang")

        scene.api.fault = hang
        assert isinstance(scene.reload(PLUGIN_POOL, VM_POOL), ReloadReply)
        allocatable(scene.stack, ATOM, len(ATOMS))


def test_a_claim_that_a_pod_has_holds_a_change_up(tmp_path: Path) -> None:
    with node(tmp_path, DRA_POOL) as scene:
        scene.wait_exported()
        scene.kubelet.pods.hold_claim(DRIVER, ["0000-20-00-0"])
        refused = scene.reload(PLUGIN_POOL, VM_POOL)
        assert isinstance(refused, ErrorReply)
        assert refused.errors[0] == (
            f"{ATOMS[0]}: pod ml/train-0, container main, uses it by claim ml/npus of {DRIVER}, "
            "and it would be exported by the device-plugin API"
        )
        dry = send_request(scene.stack.run_dir, DryRun(scene.stack.config_file.read_bytes()))
        assert isinstance(dry, DryRunReply)
        assert dry.conflicts == refused.errors[:1]
        assert scene.slices()

        forced = scene.reload(PLUGIN_POOL, VM_POOL, force=True)
        assert isinstance(forced, ReloadReply)
        allocatable(scene.stack, ATOM, len(ATOMS) - 1)
        status = scene.stack.wait_status(
            lambda s: s.pools[ATOM].devices[ATOMS[0]].source == "pods", what="the pod's device"
        )
        with pytest.raises(grpc.RpcError, match="claim ml/npus"):
            scene.kubelet.allocate(ATOM, [ATOMS[:1]])
        scene.stack.wait_status(
            lambda s: any(one.code is Code.FOREIGN_EXPORTER for one in s.supervisor.problems),
            what="a driver that no pool has",
        )
        held = status.pools[ATOM].devices[ATOMS[0]]
        assert (held.health, held.reason) == (
            "Unhealthy",
            f"pod ml/train-0 (claim ml/npus) holds it as {DRIVER}",
        )


def prepare(scene: Scene, claim: Claim, device: str) -> None:
    """Allocate a device to a claim, and let the kubelet prepare it."""
    put_claim(scene.api, AllocatedClaim(claim.uid, claim.name), [result(device)])
    answers = scene.kubelet.dra.prepare(DRIVER, [claim])
    assert answers[claim.uid].error == ""


def test_claims_slices_and_refusals_are_counted(tmp_path: Path) -> None:
    with node(tmp_path, DRA_POOL) as scene:
        scene.wait_exported()
        claim = Claim("default", "uid-1", "one")
        prepare(scene, claim, ATOMS[1])
        missing = Claim("default", "uid-2", "two")
        assert "404" in scene.kubelet.dra.prepare(DRIVER, [missing])[missing.uid].error
        assert scene.kubelet.dra.unprepare(DRIVER, [claim])[claim.uid] == ""

        def counters() -> WorkerCounters:
            reply = send_request(scene.stack.run_dir, Metrics())
            assert isinstance(reply, MetricsReply)
            return reply.measures.pools[ATOM].figures or WorkerCounters()

        eventually(lambda: len(counters().calls) == 2, what="counters of both calls")
        found = counters()
        calls = {method: dict(one.codes) for method, one in found.calls.items()}
        assert calls == {
            "NodePrepareResources": {"OK": 1, "api-server": 1},
            "NodeUnprepareResources": {"OK": 1},
        }
        assert sum(found.calls["NodePrepareResources"].took.counts) == 2
        assert (found.slices, found.slice_writes >= 1) == (1, True)
        scene.api.stop()
        eventually(lambda: counters().api_errors, what="errors of the API server")
        scene.api.start()


def test_a_prepared_claim_keeps_its_device_whatever_the_kubelet_lists(tmp_path: Path) -> None:
    with node(tmp_path, DRA_POOL) as scene:
        scene.wait_exported()
        claim = Claim("default", "uid-1", "one")
        prepare(scene, claim, ATOMS[1])
        status = scene.stack.wait_status(
            lambda s: s.pools[ATOM].claims and s.pools[ATOM].devices[ATOMS[1]].pods,
            what="a claim in the status",
        )
        (shown,) = status.pools[ATOM].claims
        assert (shown.namespace, shown.name, shown.devices) == ("default", "one", (ATOMS[1],))
        assert shown.pods == ("default/pod-of-one",)
        said = scene.stack.ctl("explain", ATOMS[1]).stdout
        assert f"device 0000-21-00-0 of driver {DRIVER}" in said
        assert "used by pod default/pod-of-one (claim default/one)" in said
        assert isinstance(scene.reload(PLUGIN_POOL, VM_POOL, force=True), ReloadReply)
        allocatable(scene.stack, ATOM, len(ATOMS) - 1)
        assert isinstance(scene.reload(DRA_POOL, VM_POOL, force=True), ReloadReply)
        scene.wait_exported()
        assert scene.kubelet.dra.unprepare(DRIVER, [claim])[claim.uid] == ""
        scene.stack.wait_status(lambda s: not s.pools[ATOM].claims, what="no claim")
        assert isinstance(scene.reload(PLUGIN_POOL, VM_POOL), ReloadReply)
        allocatable(scene.stack, ATOM, len(ATOMS))


def test_a_device_of_a_pod_is_not_offered_by_dra(tmp_path: Path) -> None:
    with node(tmp_path, PLUGIN_POOL) as scene:
        allocatable(scene.stack, ATOM, len(ATOMS))
        scene.kubelet.pods.hold(ATOM, ATOMS[:1])
        refused = scene.reload(DRA_POOL, VM_POOL)
        assert isinstance(refused, ErrorReply)
        assert refused.errors[0].endswith(f"and it would be exported by DRA ({DRIVER})")
        scene.stack.wait_status(
            lambda s: s.pools[ATOM].devices[ATOMS[0]].pods, what="the pod in the status"
        )
        assert isinstance(scene.reload(DRA_POOL, VM_POOL, force=True), ReloadReply)
        scene.wait_exported()
        (taint,) = scene.devices()["0000-20-00-0"]["taints"]
        assert (taint["key"], taint["value"]) == (f"{DRIVER}/unhealthy", "pods")
        assert "taints" not in scene.devices()["0000-21-00-0"]
        claim = Claim("default", "uid-1", "one")
        put_claim(scene.api, AllocatedClaim(claim.uid, claim.name), [result(ATOMS[0])])
        refusal = scene.kubelet.dra.prepare(DRIVER, [claim])[claim.uid].error
        assert f"pod ml/train-0 holds it as {ATOM}" in refusal
        scene.kubelet.pods.release()
        eventually(
            lambda: "taints" not in scene.devices()["0000-20-00-0"],
            what="a device without a taint",
            deadline_s=30.0,
        )
