"""A DRA pool's claims: the real supervisor and worker, with an API server and a kubelet's calls."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system.dra_scene import ATOMS, DRIVER, NODE, Claim, dra_node, result


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
