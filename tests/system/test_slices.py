"""A pool's ResourceSlices at a real HTTPS server, which misbehaves on purpose."""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.health import Verdict
from rbln_worker.contract.pool import DraExport, PoolSpec
from rbln_worker.contract.problem import Code
from rbln_worker.core.dra.slices import desired_pool
from rbln_worker.dra.publisher import SlicePublisher
from rbln_worker.kube.client import ApiClient
from tests.sim.api_scene import SLICES, run, until
from tests.sim.api_server import ApiRequest, RawAnswer, SimApiServer, http_answer

NODES = "/api/v1/nodes"
NODE = "worker-1"
DRIVER = "npu.rebellions.ai"
POOL = PoolSpec("rebellions.ai", "npu", "accelerator", dra=DraExport(DRIVER))
SICK = Verdict(healthy=False, source="npu-status")

Obj = dict[str, Any]
Work = Callable[[SlicePublisher, ApiClient], Awaitable[None]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimApiServer]:
    with SimApiServer(tmp_path / "api") as server:
        server.store.create(NODES, {"metadata": {"name": NODE}})
        yield server


def npus(count: int) -> dict[DeviceId, Device]:
    addresses = [f"0000:{number // 32:02x}:{number % 32:02x}.0" for number in range(count)]
    return {
        DeviceId(bdf): Device(
            DeviceId(bdf), PciFunction(Bdf(bdf), "1eff", "1250", 0x12, "rebellions", 0)
        )
        for bdf in addresses
    }


def show(publisher: SlicePublisher, count: int, *sick: int) -> None:
    """Publish so many devices, of which these are Unhealthy."""
    devices = npus(count)
    verdicts = {
        one: SICK if number in sick else Verdict(healthy=True) for number, one in enumerate(devices)
    }
    publisher.publish(desired_pool(POOL, NODE, devices, verdicts, {}))


def published(server: SimApiServer) -> list[Obj]:
    slices = server.store.list_objects(SLICES)["items"]
    return sorted(slices, key=lambda one: str(one["metadata"]["name"]))


def names(server: SimApiServer) -> list[str]:
    return [one["metadata"]["name"] for one in published(server)]


def advertised(server: SimApiServer) -> dict[str, list[str]]:
    """The values of taints by device."""
    return {
        device["name"]: [taint["value"] for taint in device.get("taints", ())]
        for one in published(server)
        for device in one["spec"].get("devices", ())
    }


def writes(server: SimApiServer) -> list[str]:
    return [one.verb for one in server.requests if one.verb != "GET"]


def codes(publisher: SlicePublisher) -> set[Code]:
    return {one.code for one in publisher.problems}


def publishing(server: SimApiServer, work: Work) -> None:
    """Run a publisher while a coroutine looks at it."""

    async def scene(client: ApiClient) -> None:
        publisher = SlicePublisher(client, driver=DRIVER, node=NODE, counters=WorkerCounters())
        running = asyncio.create_task(publisher.run())
        try:
            await work(publisher, client)
        finally:
            running.cancel()
            await asyncio.wait({running})

    run(server, scene)


def test_slices_belong_to_the_node_and_are_named_in_order(server: SimApiServer) -> None:
    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 150)
        await until(lambda: len(published(server)) == 3)
        uid = server.store.get(f"{NODES}/{NODE}")["metadata"]["uid"]
        for index, one in enumerate(published(server)):
            assert one["metadata"]["name"].startswith(f"{index:03d}-{DRIVER}-{NODE}-")
            assert one["metadata"]["ownerReferences"] == [
                {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid, "controller": True}
            ]
            assert one["spec"]["nodeName"] == NODE
            assert one["spec"]["driver"] == DRIVER
            assert one["spec"]["pool"] == {"name": NODE, "generation": 1, "resourceSliceCount": 3}
        assert len(advertised(server)) == 150

    publishing(server, work)


def test_a_pool_without_devices_has_an_empty_slice(server: SimApiServer) -> None:
    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 0)
        await until(lambda: len(published(server)) == 1)
        assert published(server)[0]["spec"].get("devices", []) == []

    publishing(server, work)


def test_slices_that_the_kubelet_wipes_are_made_again(server: SimApiServer) -> None:
    async def work(publisher: SlicePublisher, client: ApiClient) -> None:
        show(publisher, 70)
        await until(lambda: len(published(server)) == 2)
        for one in published(server):
            await client.delete(f"{SLICES}/{one['metadata']['name']}")
        await until(lambda: len(published(server)) == 2 and len(advertised(server)) == 70)

    publishing(server, work)


def test_a_sick_device_has_a_taint_until_it_recovers_by_one_update_each(
    server: SimApiServer,
) -> None:
    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 70)
        await until(lambda: len(published(server)) == 2)
        made = [one["metadata"]["uid"] for one in published(server)]
        show(publisher, 70, 3)
        await until(lambda: advertised(server)["0000-00-03-0"] == ["npu-status"])
        show(publisher, 70)
        await until(lambda: advertised(server)["0000-00-03-0"] == [])
        assert writes(server) == ["POST", "POST", "PUT", "PUT"]
        assert [one["metadata"]["uid"] for one in published(server)] == made
        assert {one["spec"]["pool"]["generation"] for one in published(server)} == {1}

    publishing(server, work)


def test_another_worker_finds_its_slices_and_writes_nothing(server: SimApiServer) -> None:
    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 3, 1)
        await until(lambda: len(advertised(server)) == 3)

    publishing(server, work)
    before = published(server)

    async def again(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 3, 1)
        await until(publisher.published.is_set)
        await until(lambda: sum(one.path == f"{NODES}/{NODE}" for one in server.requests) == 2)
        show(publisher, 4, 1)
        await until(lambda: len(advertised(server)) == 4)

    publishing(server, again)
    assert writes(server) == ["POST", "PUT"]
    assert [one["metadata"]["uid"] for one in before] == [
        one["metadata"]["uid"] for one in published(server)
    ]


def test_while_the_server_is_away_that_is_a_problem_and_then_all_is_caught_up(
    server: SimApiServer,
) -> None:
    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 2)
        await until(lambda: len(advertised(server)) == 2)
        server.stop()
        show(publisher, 2, 0)
        await until(lambda: Code.API_SERVER_UNREACHABLE in codes(publisher))
        server.store.objects.pop(f"{SLICES}/{published(server)[0]['metadata']['name']}")
        server.start()
        await until(lambda: advertised(server).get("0000-00-00-0") == ["npu-status"])
        await until(lambda: not publisher.problems)

    publishing(server, work)


def test_a_server_that_never_answers_is_a_problem(server: SimApiServer) -> None:
    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        server.fault = lambda _: RawAnswer(end="hang")
        show(publisher, 2)
        await until(lambda: Code.API_SERVER_UNREACHABLE in codes(publisher))
        server.fault = lambda _: None
        await until(lambda: len(advertised(server)) == 2)

    publishing(server, work)


def refuse(code: int, reason: str, *headers: str) -> RawAnswer:
    body = f'{{"kind":"Status","code":{code},"reason":"{reason}","message":"no"}}'
    return RawAnswer(http_answer(code, body.encode(), *headers), end="keep")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refuse(403, "Forbidden"), Code.SLICES_NOT_PUBLISHED),
        (refuse(422, "Invalid"), Code.SLICES_NOT_PUBLISHED),
        (refuse(404, "NotFound"), Code.SLICES_NOT_PUBLISHED),
        (refuse(500, "InternalError"), Code.API_SERVER_UNREACHABLE),
        (refuse(429, "TooManyRequests"), Code.API_SERVER_UNREACHABLE),
        (RawAnswer(http_answer(200, b"<html>"), end="keep"), Code.API_SERVER_UNREACHABLE),
        (RawAnswer(end="reset"), Code.API_SERVER_UNREACHABLE),
    ],
)
def test_what_refuses_writes_is_named_until_it_ends(
    server: SimApiServer, answer: RawAnswer, code: Code
) -> None:
    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        server.fault = lambda request: answer if request.verb == "POST" else None
        show(publisher, 2)
        await until(lambda: code in codes(publisher))
        server.fault = lambda _: None
        await until(lambda: len(advertised(server)) == 2)
        await until(lambda: not publisher.problems)

    publishing(server, work)


def test_a_slice_that_another_changes_at_the_same_time_is_read_again(
    server: SimApiServer,
) -> None:
    meddled: list[str] = []

    def meddle(request: ApiRequest) -> RawAnswer | None:
        if request.verb == "PUT" and len(meddled) < 2:
            server.store.patch(request.path, {"metadata": {"labels": {"theirs": "1"}}})
            meddled.append(request.path)
        return None

    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 2)
        await until(lambda: len(advertised(server)) == 2)
        server.fault = meddle
        show(publisher, 2, 1)
        await until(lambda: advertised(server)["0000-00-01-0"] == ["npu-status"])
        assert published(server)[0]["metadata"]["labels"] == {"theirs": "1"}
        assert len(meddled) == 2
        assert not publisher.problems

    publishing(server, work)


def test_a_write_that_the_server_loses_is_made_again(server: SimApiServer) -> None:
    lost: list[Obj] = []

    def lose(request: ApiRequest) -> RawAnswer | None:
        if request.verb == "POST" and not lost:
            lost.append(request.object)
            stored = {**request.object, "metadata": {"name": "000-lost", "uid": "lost"}}
            return RawAnswer(http_answer(201, json.dumps(stored).encode()), end="keep")
        return None

    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        server.fault = lose
        show(publisher, 2)
        await until(lambda: len(advertised(server)) == 2)
        assert lost

    publishing(server, work)


def test_an_older_server_that_stores_no_taints_is_named_and_not_asked_for_ever(
    server: SimApiServer,
) -> None:
    def drop(request: ApiRequest) -> RawAnswer | None:
        if request.verb not in {"POST", "PUT"}:
            return None
        body = request.object
        for device in body["spec"].get("devices", ()):
            device.pop("taints", None)
        if request.verb == "POST":
            stored = server.store.create(request.path, body)
        else:
            stored = server.store.update(request.path, body)
        return RawAnswer(http_answer(200, json.dumps(stored).encode()), end="keep")

    async def work(publisher: SlicePublisher, client: ApiClient) -> None:
        server.fault = drop
        show(publisher, 2, 0)
        await until(lambda: Code.SLICE_FIELDS_DROPPED in codes(publisher))
        assert "taints" in publisher.problems[0].text
        name = published(server)[0]["metadata"]["name"]
        await client.patch(f"{SLICES}/{name}", {"metadata": {"labels": {"a": "b"}}}, Obj)
        show(publisher, 3, 0)
        await until(lambda: len(advertised(server)) == 3)
        assert writes(server) == ["POST", "PATCH", "PUT"]
        show(publisher, 3)
        await until(lambda: not publisher.problems)

    publishing(server, work)


@pytest.mark.parametrize("pool", ["theirs", NODE])
def test_slices_of_another_program_under_our_drivers_name_are_removed(
    server: SimApiServer, pool: str
) -> None:
    uid = server.store.get(f"{NODES}/{NODE}")["metadata"]["uid"]
    theirs: Obj = {
        "metadata": {
            "generateName": f"{NODE}-",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid}],
        },
        "spec": {
            "driver": DRIVER,
            "nodeName": NODE,
            "pool": {"name": pool, "generation": 9, "resourceSliceCount": 1},
            "devices": [{"name": "0000-00-00-0"}],
        },
    }
    old = {**theirs, "metadata": {"generateName": "old-"}}
    elsewhere = {**theirs, "spec": {**theirs["spec"], "nodeName": "worker-2"}}
    for one in (theirs, old, elsewhere):
        server.store.create(SLICES, copy.deepcopy(one))

    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 2)
        await until(lambda: [name[:4] for name in names(server)] == ["000-", "work"])
        assert published(server)[1]["spec"]["nodeName"] == "worker-2"

    publishing(server, work)


def test_a_driver_that_takes_our_name_again_and_again_is_a_problem(server: SimApiServer) -> None:
    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 2)
        await until(lambda: len(published(server)) == 1)
        for _number in range(3):
            spec = {**published(server)[0]["spec"], "pool": {"name": "x", "generation": 1}}
            spec["pool"]["resourceSliceCount"] = 1
            server.store.create(SLICES, {"metadata": {"generateName": "x-"}, "spec": spec})
            await until(lambda: len(published(server)) == 1)
        await until(lambda: Code.SLICES_NOT_PUBLISHED in codes(publisher))

    publishing(server, work)


def test_a_node_that_was_made_again_owns_new_slices(server: SimApiServer) -> None:
    async def work(publisher: SlicePublisher, client: ApiClient) -> None:
        show(publisher, 2)
        await until(lambda: len(published(server)) == 1)
        await client.delete(f"{NODES}/{NODE}")
        made = server.store.create(NODES, {"metadata": {"name": NODE}})
        # The garbage collector deletes what the old one owned.
        await client.delete(f"{SLICES}/{published(server)[0]['metadata']['name']}")
        await until(lambda: len(published(server)) == 1)
        owners = published(server)[0]["metadata"]["ownerReferences"]
        assert [one["uid"] for one in owners] == [made["metadata"]["uid"]]

    publishing(server, work)


def test_a_pool_that_is_withdrawn_has_no_slices_and_makes_none_again(
    server: SimApiServer,
) -> None:
    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 70)
        await until(lambda: len(published(server)) == 2)
        await publisher.withdraw()
        assert published(server) == []
        show(publisher, 71)
        server.drop_connections()  # so that it lists again, and finds none
        lists = len(server.requests)
        await until(lambda: any("watch" in one.query for one in server.requests[lists:]))
        assert writes(server) == ["POST", "POST", "DELETE", "DELETE"]

    publishing(server, work)


def test_an_unplugged_device_stays_with_a_taint_while_a_claim_holds_it(
    server: SimApiServer,
) -> None:
    async def work(publisher: SlicePublisher, _: ApiClient) -> None:
        show(publisher, 3)
        await until(lambda: len(advertised(server)) == 3)
        publisher.hold_devices([DeviceId("0000:00:02.0")])
        show(publisher, 2)
        await until(lambda: advertised(server)["0000-00-02-0"] == ["sysfs"])
        publisher.hold_devices([])
        await until(lambda: len(advertised(server)) == 2)

    publishing(server, work)
