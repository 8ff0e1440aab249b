"""A DRA pool's claims: the real supervisor and worker, with an API server and a kubelet's calls."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import grpc
import pytest

from rbln_worker.contract.device import DeviceId
from rbln_worker.contract.problem import Code
from rbln_worker.core.dra.names import dra_device_name
from rbln_worker.dra.api import dra_health_pb2 as health_pb
from tests.sim.api_server import ApiRequest, RawAnswer, no_fault
from tests.sim.dra_kubelet import DraKubelet
from tests.system.dra_scene import ATOMS, DRIVER, NODE, Claim, dra_node, result
from tests.system.scene import ATOM, TWO_POOLS, allocatable, pool_status


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_claim_is_prepared_and_unprepared(tmp_path: Path, version: str) -> None:
    with dra_node(tmp_path) as scene:
        claim = scene.allocate(Claim("uid-1", "one"), result(ATOMS[0]), result(ATOMS[1]))
        answer = scene.driver.prepare(claim, version=version).claims[claim.uid]
        assert answer.error == ""
        assert [
            (one.pool_name, one.device_name, [*one.request_names]) for one in answer.devices
        ] == [
            (NODE, "0000-20-00-0", ["npus"]),
            (NODE, "0000-21-00-0", ["npus"]),
        ]
        assert [[*one.cdi_device_ids] for one in answer.devices] == [
            [f"k8s.{DRIVER}/claim=uid-1-0000-20-00-0", f"k8s.{DRIVER}/claim=uid-1_npus"],
            [f"k8s.{DRIVER}/claim=uid-1-0000-21-00-0"],
        ]
        spec = scene.spec(claim)
        edits = {one["name"]: one["containerEdits"] for one in spec["devices"]}
        assert spec["kind"] == f"k8s.{DRIVER}/claim"
        nodes = [node["hostPath"] for node in edits["uid-1-0000-21-00-0"]["deviceNodes"]]
        assert nodes == ["/dev/rbln1", "/dev/rsd0"]
        assert f"PCIDEVICE_REBELLIONS_AI_ATOM={ATOMS[0]},{ATOMS[1]}" in edits["uid-1_npus"]["env"]
        (mount,) = edits["uid-1_npus"]["mounts"]
        metadata = (scene.stack.root / mount["hostPath"].lstrip("/")).read_text()
        first = json.loads(metadata.splitlines()[0])
        assert first["apiVersion"] == "metadata.resource.k8s.io/v1beta1"
        (device, _) = first["requests"][0]["devices"]
        assert device["attributes"]["resource.kubernetes.io/pciBusID"] == {"string": ATOMS[0]}
        wait_until(lambda: scene.slices() != [])
        published = scene.slices()[0]["spec"]["devices"]
        assert device["attributes"] == published[0]["attributes"]
        assert scene.driver.prepare(claim, version=version).claims[claim.uid] == answer
        assert scene.driver.unprepare(claim, version=version).claims[claim.uid].error == ""
        assert scene.checkpoint()["claims"] == {}
        assert scene.spec_files() == []
        assert not [*(scene.folder / "metadata").iterdir()]
        assert scene.driver.unprepare(claim, version=version).claims[claim.uid].error == ""


def test_every_claim_of_a_call_has_an_entry(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        good = scene.allocate(Claim("uid-1", "one"), result(ATOMS[0]))
        bad = Claim("uid-2", "missing")
        answer = scene.driver.prepare(good, bad).claims
        assert answer[good.uid].error == ""
        assert "404" in answer[bad.uid].error
        assert "resourceclaims/missing" in answer[bad.uid].error
        assert {*scene.driver.unprepare(good, bad).claims} == {good.uid, bad.uid}


def test_refusals_say_why(tmp_path: Path) -> None:
    ours = {"apiVersion": "resource.rebellions.ai/v1", "kind": "NpuParameters"}

    def config(driver: str, parameters: object) -> dict[str, object]:
        return {"source": "FromClaim", "opaque": {"driver": driver, "parameters": parameters}}

    with dra_node(tmp_path) as scene:
        holder = scene.allocate(Claim("uid-0", "holder"), result(ATOMS[0]))
        assert scene.driver.prepare(holder).claims["uid-0"].error == ""
        foreign: dict[str, object] = {
            "request": "nic",
            "driver": "nic.example.com",
            "pool": "x",
            "device": "nic-0",
        }
        free = result(ATOMS[1])
        cases: dict[str, tuple[list[dict[str, object]], dict[str, Any], str]] = {
            "another driver only": ([foreign], {}, "no device of the driver"),
            "another driver too": ([foreign, free], {}, ""),
            "unknown device": ([result("0000:99:00.0")], {}, "not one of the driver"),
            "another node": ([{**free, "pool": "node-2"}], {}, "not of this node"),
            "in use": ([result(ATOMS[0])], {}, "in use by claim default/holder"),
            "admin": ([result(ATOMS[0], adminAccess=True)], {}, ""),
            "a path as request": ([result(ATOMS[1], "../../etc")], {}, "is no name"),
            "subrequests": ([result(ATOMS[1], "npus/small")], {}, ""),
            "foreign parameters": ([free], {"configs": [config("nic.example.com", 7)]}, ""),
            "parameters": ([free], {"configs": [config(DRIVER, {**ours, "rsdGroup": False})]}, ""),
            "malformed": ([free], {"configs": [config(DRIVER, [])]}, "parameters"),
            "unknown key": ([free], {"configs": [config(DRIVER, {**ours, "x": 1})]}, "field `x`"),
            "unknown kind": (
                [free],
                {"configs": [config(DRIVER, {**ours, "kind": "GpuConfig"})]},
                "'GpuConfig'",
            ),
            "other requests' parameters": (
                [free],
                {"configs": [{**config(DRIVER, []), "requests": ["others"]}]},
                "",
            ),
            "not allocated": ([], {"status": {}}, "not allocated"),
            "not reserved": (
                [],
                {"status": {"allocation": {"devices": {"results": [free]}}}},
                "not reserved",
            ),
        }
        said = {}
        for number, (name, (devices, rest, _)) in enumerate(cases.items()):
            claim = scene.allocate(Claim(f"uid-c{number}", f"c{number}"), *devices, **rest)
            said[name] = scene.driver.prepare(claim).claims[claim.uid].error
            assert scene.driver.unprepare(claim).claims[claim.uid].error == ""
        wrong = {
            name: said[name]
            for name, (_, _, words) in cases.items()
            if (words not in said[name]) or bool(words) != bool(said[name])
        }
        assert wrong == {}
        assert {*scene.checkpoint()["claims"]} == {"uid-0"}
        assert len(scene.spec_files()) == 1


def test_a_claim_that_was_created_again_is_refused(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        scene.allocate(Claim("uid-new", "one"), result(ATOMS[0]))
        old = Claim("uid-old", "one")
        assert "'uid-new'" in scene.driver.prepare(old).claims["uid-old"].error
        for bad in (Claim("../x", "one"), Claim("uid", "../x"), Claim("", "")):
            assert "no name of a claim" in scene.driver.prepare(bad).claims[bad.uid].error
            assert scene.driver.unprepare(bad).claims[bad.uid].error == ""


def test_without_the_api_server_prepared_claims_are_served(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        claim = scene.allocate(Claim("uid-1", "one"), result(ATOMS[0]))
        answer = scene.driver.prepare(claim).claims["uid-1"]
        assert answer.error == ""
        scene.api.stop()
        assert scene.driver.prepare(claim).claims["uid-1"] == answer
        other = Claim("uid-2", "two")
        assert (
            "claim default/two can't be read" in scene.driver.prepare(other).claims["uid-2"].error
        )
        assert scene.driver.unprepare(claim).claims["uid-1"].error == ""
        assert scene.spec_files() == []
        scene.api.start()
        scene.allocate(other, result(ATOMS[0]))
        assert scene.driver.prepare(other).claims["uid-2"].error == ""


def test_a_killed_worker_leaves_claims_to_the_next_one(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        claim = scene.allocate(Claim("uid-1", "one"), result(ATOMS[0]))
        first = scene.driver
        answer = first.prepare(claim).claims["uid-1"]
        pid = scene.stack.workers()["rebellions.ai/ATOM"]
        spec = scene.spec(claim)
        scene.api.store.objects.clear()
        os.kill(pid, signal.SIGKILL)
        second = scene.kubelet.wait_driver(DRIVER, lambda one: one.socket != first.socket)
        assert second.prepare(claim).claims["uid-1"] == answer
        assert scene.spec(claim) == spec
        other = scene.allocate(Claim("uid-2", "two"), result(ATOMS[0]))
        assert "in use by claim" in second.prepare(other).claims["uid-2"].error
        assert second.unprepare(claim).claims["uid-1"].error == ""
        assert scene.spec_files() == []


def test_specs_that_another_program_removes_are_written_again(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        claim = scene.allocate(Claim("uid-1", "one"), result(ATOMS[0]))
        scene.driver.prepare(claim)
        spec = scene.spec(claim)
        scene.specs.rename(scene.specs.with_name("away"))  # at once, as a tmpfs that is unmounted
        wait_until(lambda: scene.spec_files() != [] and scene.spec(claim) == spec)


def test_an_export_by_the_device_plugin_api_ends_the_driver(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        wait_until(lambda: scene.slices() != [])
        scene.stack.write_config(TWO_POOLS)
        assert scene.stack.ctl("reload").returncode == 0
        allocatable(scene.stack, ATOM, 4)
        assert scene.slices() == []


@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
def test_health_and_its_words_are_streamed(tmp_path: Path, version: str) -> None:
    with dra_node(tmp_path) as scene, scene.driver.health(version) as stream:
        first = next(stream)
        assert {one.device.device_name: one.health for one in first.devices} == {
            dra_device_name(DeviceId(one)): health_pb.HEALTHY for one in ATOMS
        }
        assert {one.device.pool_name for one in first.devices} == {NODE}
        scene.stack.node.set_status("rbln1", 3)
        sick = next(
            one
            for message in stream
            for one in message.devices
            if one.health == health_pb.UNHEALTHY
        )
        assert sick.device.device_name == "0000-21-00-0"
        assert sick.message == "its status is FAULT (3)"
        claim = scene.allocate(Claim("uid-1", "one"), result(ATOMS[1]))
        refusal = scene.driver.prepare(claim).claims["uid-1"].error
        assert refusal == f"device {ATOMS[1]} can't be used: its status is FAULT (3)"


def test_a_call_that_the_kubelet_gave_up_does_no_harm(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        claim = scene.allocate(Claim("uid-1", "one"), result(ATOMS[0]))
        asked = threading.Event()
        silent = RawAnswer(end="hang")

        def say_nothing(request: ApiRequest) -> RawAnswer | None:
            if "resourceclaims" not in request.path:
                return None
            asked.set()
            return silent

        scene.api.fault = say_nothing
        driver = scene.driver
        with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
            driver.prepare(claim, within_s=1.0)
        assert asked.wait(10)
        scene.api.fault = no_fault
        assert driver.unprepare(claim).claims["uid-1"].error == ""
        assert scene.spec_files() == []
        assert driver.prepare(claim).claims["uid-1"].error == ""
        assert scene.checkpoint()["claims"]["uid-1"]["state"] == "done"


def test_a_kubelet_that_restarts_finds_the_driver_again(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        claim = scene.allocate(Claim("uid-1", "one"), result(ATOMS[0]))
        answer = scene.driver.prepare(claim).claims["uid-1"]
        scene.stack.kubelet.stop()
        scene.stack.kubelet.start()
        pool_status(scene.stack, ATOM, lambda pool: not pool.registered, what="not listed yet")
        with DraKubelet(scene.stack.kubelet.folder) as after:
            assert after.wait_driver(DRIVER).prepare(claim).claims["uid-1"] == answer
            pool_status(scene.stack, ATOM, lambda pool: pool.registered, what="listed again")


def test_a_storm_of_claims(tmp_path: Path) -> None:
    """A hundred at once: monitoring, which has access to devices of others."""
    with dra_node(tmp_path) as scene:
        claims = [
            scene.allocate(Claim(f"uid-{n}", f"c{n}"), result(ATOMS[n % 4], adminAccess=True))
            for n in range(100)
        ]
        driver = scene.driver
        with ThreadPoolExecutor(20) as pool:
            errors = {
                answer.claims[claim.uid].error
                for claim, answer in zip(claims, pool.map(driver.prepare, claims), strict=True)
            }
            assert errors == {""}
            assert len(scene.spec_files()) == 100
            states = {one["state"] for one in scene.checkpoint()["claims"].values()}
            assert states == {"done"}
            errors = {
                answer.claims[claim.uid].error
                for claim, answer in zip(claims, pool.map(driver.unprepare, claims), strict=True)
            }
        assert errors == {""}
        assert scene.spec_files() == []
        assert scene.checkpoint()["claims"] == {}


def test_of_claims_of_one_device_one_is_prepared(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        claims = [scene.allocate(Claim(f"uid-{n}", f"c{n}"), result(ATOMS[0])) for n in range(20)]
        answers = scene.driver.prepare(*claims).claims
        refused = [one.error for one in answers.values() if one.error]
        assert len(refused) == len(claims) - 1
        assert all("in use by claim default/c" in one for one in refused)
        assert len(scene.spec_files()) == 1


def test_a_drained_worker_answers_what_it_has_begun(tmp_path: Path) -> None:
    """An update of the plugin: the supervisor and its workers end while a claim is prepared."""
    with dra_node(tmp_path) as scene:
        claims = [
            scene.allocate(Claim(f"uid-{n}", f"c{n}"), result(ATOMS[n % 4], adminAccess=True))
            for n in range(50)
        ]
        driver, pid = scene.driver, scene.stack.workers()[ATOM]
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(driver.prepare, *claims)
            os.kill(pid, signal.SIGTERM)
            with contextlib.suppress(grpc.RpcError):  # not begun: the kubelet calls the next one
                call.result()
        after = scene.kubelet.wait_driver(DRIVER, lambda one: one.socket != driver.socket)
        assert {one.error for one in after.prepare(*claims).claims.values()} == {""}
        assert {one["state"] for one in scene.checkpoint()["claims"].values()} == {"done"}
        assert len(scene.spec_files()) == len(claims)


def test_a_corrupt_checkpoint_loses_no_claim_and_is_a_problem(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        claim = scene.allocate(Claim("uid-1", "one"), result(ATOMS[0]))
        answer = scene.driver.prepare(claim).claims["uid-1"]
        (scene.folder / "checkpoint.json").write_text("{")
        other = scene.allocate(Claim("uid-2", "two"), result(ATOMS[0]))
        refusal = "device 0000:20:00.0 is in use by claim default/one"
        assert scene.driver.prepare(other).claims["uid-2"].error == refusal
        assert scene.driver.prepare(claim).claims["uid-1"] == answer
        status = pool_status(
            scene.stack,
            ATOM,
            lambda pool: Code.CLAIMS_REBUILT in {one.code for one in pool.problems},
            what="the problem",
        )
        texts = {one.code: one.text for one in status.problems}
        assert "checkpoint.json.corrupt" in texts[Code.CLAIMS_REBUILT]


def test_a_cdi_folder_that_is_read_only_is_an_error_with_its_name(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        first = scene.allocate(Claim("uid-1", "one"), result(ATOMS[0]))
        second = scene.allocate(Claim("uid-2", "two"), result(ATOMS[1]))
        assert scene.driver.prepare(first).claims["uid-1"].error == ""
        scene.specs.chmod(0o555)  # a worker has no capability that would ignore it
        error = scene.driver.prepare(second).claims["uid-2"].error
        assert error.startswith("claim default/two can't be prepared: ")
        assert error.endswith(": Permission denied")
        assert "Permission denied" in scene.driver.unprepare(first).claims["uid-1"].error
        scene.specs.chmod(0o755)
        assert scene.driver.unprepare(first).claims["uid-1"].error == ""
        assert scene.driver.prepare(second).claims["uid-2"].error == ""
        assert {*scene.checkpoint()["claims"]} == {"uid-2"}
        assert len(scene.spec_files()) == 1


def test_events_tell_of_claims_once(tmp_path: Path) -> None:
    with dra_node(tmp_path) as scene:
        claim = scene.allocate(Claim("uid-1", "one"), result(ATOMS[0]))
        other = scene.allocate(Claim("uid-2", "two"), result(ATOMS[0]))
        for _ in range(3):
            scene.driver.prepare(claim, other)
        scene.driver.unprepare(claim)

        def told() -> list[str]:
            listed = scene.stack.ctl("events", "--json", "--pool", ATOM).stdout
            claims = [one for one in json.loads(listed)["events"] if one["kind"] == "claim"]
            return sorted(f"{one['what']} {one['source']}: {one['why']}" for one in claims)

        wait_until(lambda: len(told()) == 3)
        assert told() == [
            f"prepared default/one: {ATOMS[0]} for default/pod-of-one",
            f"refused default/two: device {ATOMS[0]} is in use by claim default/one",
            f"unprepared default/one: {ATOMS[0]} for default/pod-of-one",
        ]


def wait_until(condition: Callable[[], object]) -> None:
    until = monotonic() + 30
    while not condition():
        assert monotonic() < until
        sleep(0.02)
