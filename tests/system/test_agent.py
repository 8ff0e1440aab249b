"""rbln-agent: what happens to devices and pools is in the cluster's Events, once."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from rbln_supervisor.core.events.series import micro_time
from rbln_supervisor.events.agent_files import STATE_FILE
from rbln_worker.contract.problem import Code
from rbln_worker.process.replace_file import ASIDE_SUFFIX
from tests.sim.agent import NODE, SeenEvent, event_objects, running_agent, seen_events
from tests.sim.api_server import ApiRequest, RawAnswer, SimApiServer, http_answer
from tests.sim.event_book import EventBook, Subject
from tests.sim.kubelet import kubelet_1_37
from tests.sim.stack import Stack
from tests.system.faults_around import other_plugin
from tests.system.scene import ATOM, ATOMS, TWO_POOLS, allocatable, eventually, pool_status, served

pytestmark = pytest.mark.system


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SimApiServer]:
    with SimApiServer(tmp_path / "api") as server:
        yield server


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        yield stack


def sees(server: SimApiServer, *expected: SeenEvent) -> None:
    """Wait until these Events are there, among others."""
    try:
        eventually(lambda: set(expected) <= set(seen_events(server)), what="the Events are there")
    except AssertionError:
        raise AssertionError(f"{expected} among {seen_events(server)}") from None


def on_node(reason: str, count: int = 1) -> SeenEvent:
    return SeenEvent(reason, "Node", NODE, count)


def note(server: SimApiServer, reason: str, kind: str = "Node") -> str:
    """The text of the one Event of a reason."""
    (text,) = (
        one["note"]
        for one in event_objects(server)
        if (one["reason"], one["regarding"]["kind"]) == (reason, kind)
    )
    return str(text)


def fail(stack: Stack, *names: str) -> None:
    """Let NPUs report a fault."""
    for name in names:
        stack.node.set_status(name, 3)
    allocatable(stack, ATOM, 4 - len(names))


def recover(stack: Stack, *names: str) -> None:
    for name in names:
        stack.node.set_status(name, 0)
    allocatable(stack, ATOM, 4)


def test_a_fault_is_on_the_node_and_on_the_pod_that_has_the_device(
    stack: Stack, server: SimApiServer
) -> None:
    pod = stack.kubelet.running.admit("one", ATOM, [ATOMS[1]])
    with running_agent(stack.run_dir, server.kubeconfig()):
        pool_status(
            stack, ATOM, lambda now: now.devices[ATOMS[1]].pods, what="the pod's device is known"
        )
        fail(stack, "rbln1")
        sees(server, on_node("DeviceUnhealthy"), SeenEvent("DeviceUnhealthy", "Pod", "one", 1))
        recover(stack, "rbln1")
        sees(server, on_node("DeviceHealthy"), SeenEvent("DeviceHealthy", "Pod", "one", 1))
    text = note(server, "DeviceUnhealthy")
    assert text.startswith(f"device {ATOMS[1]} of {ATOM} is Unhealthy: ")
    assert "FAULT" in text
    assert "that this pod has" in note(server, "DeviceUnhealthy", "Pod")
    (about,) = (one for one in event_objects(server) if one["note"] == text)
    assert about["metadata"]["namespace"] == "default"
    assert about["regarding"] == {
        "apiVersion": "v1", "kind": "Node", "name": NODE, "uid": NODE,
    }  # fmt: skip
    assert (about["type"], about["action"]) == ("Warning", "HealthCheck")
    assert about["reportingInstance"] == NODE
    pods = {one["regarding"].get("uid") for one in event_objects(server)} - {NODE}
    assert pods == {pod.uid}


def test_devices_of_one_cause_are_in_one_event(stack: Stack, server: SimApiServer) -> None:
    fail(stack, "rbln0", "rbln1", "rbln2")  # before the agent starts: it reads all at once
    with running_agent(stack.run_dir, server.kubeconfig()):
        sees(server, on_node("DeviceUnhealthy"))
    assert len(event_objects(server)) == 1
    text = note(server, "DeviceUnhealthy")
    assert text.startswith(f"3 devices of {ATOM} are Unhealthy: ")
    assert all(device in text for device in ATOMS[:3])


def test_a_killed_worker_and_a_refused_reload_are_on_the_node(
    stack: Stack, server: SimApiServer
) -> None:
    with running_agent(stack.run_dir, server.kubeconfig()):
        os.kill(stack.workers()[ATOM], signal.SIGKILL)
        sees(server, on_node("PoolWorkerRestarted"))
        stack.write_config({"resourceList": 3})
        assert stack.ctl("reload").returncode == 1
        sees(server, on_node("ConfigurationRefused"))
    assert "SIGKILL" in note(server, "PoolWorkerRestarted")
    assert "resourceList" in note(server, "ConfigurationRefused")


def test_a_device_that_fails_again_and_again_is_one_series(
    stack: Stack, server: SimApiServer
) -> None:
    with running_agent(stack.run_dir, server.kubeconfig()):
        for _ in range(4):
            fail(stack, "rbln1")
            recover(stack, "rbln1")
        sees(server, on_node("DeviceFlapping", 2))
        eventually(
            lambda: any(
                one.reason == "DeviceHealthy" and one.times >= 3 for one in seen_events(server)
            ),
            what="all recoveries are counted",
        )
    unhealthy = [one for one in seen_events(server) if one.reason == "DeviceUnhealthy"]
    assert unhealthy == [on_node("DeviceUnhealthy", 2)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_lost_and_nothing_twice_over_a_restart_of_the_agent(
    stack: Stack, server: SimApiServer, number: signal.Signals
) -> None:
    with running_agent(stack.run_dir, server.kubeconfig()) as agent:
        fail(stack, "rbln1")
        sees(server, on_node("DeviceUnhealthy"))
        agent.end(number)
        os.kill(stack.workers()[ATOM], signal.SIGKILL)
        pool_status(stack, ATOM, lambda now: now.worker.restarts, what="it was started again")
        allocatable(stack, ATOM, 3)
        agent.start()
        sees(server, on_node("PoolWorkerRestarted"))
    assert sorted(seen_events(server)) == [
        on_node("DeviceUnhealthy"),
        on_node("PoolWorkerRestarted"),
    ]


def test_a_call_whose_answer_was_lost_makes_no_second_event(
    stack: Stack, server: SimApiServer
) -> None:
    lost: list[str] = []

    def lose_first(request: ApiRequest) -> RawAnswer | None:
        """Do what is asked, and drop the connection instead of an answer."""
        if request.verb == "POST" and not lost:
            lost.append(request.path)
            server._act(request)
            return RawAnswer(end="reset")
        return None

    server.fault = lose_first
    with running_agent(stack.run_dir, server.kubeconfig()):
        fail(stack, "rbln1")
        eventually(
            lambda: [one.verb for one in server.requests].count("POST") == 2, what="it tried again"
        )
        os.kill(stack.workers()[ATOM], signal.SIGKILL)
        sees(server, on_node("PoolWorkerRestarted"))
    assert [one.reason for one in seen_events(server)] == ["DeviceUnhealthy", "PoolWorkerRestarted"]


def test_without_an_api_server_events_wait_and_keep_their_times(
    stack: Stack, server: SimApiServer
) -> None:
    server.stop()
    with running_agent(stack.run_dir, server.kubeconfig()) as agent:
        fail(stack, "rbln1")
        status = stack.wait_status(
            lambda now: any(
                one.code is Code.CLUSTER_EVENTS_NOT_SENT for one in now.supervisor.problems
            ),
            what="the status has the problem",
        )
        (problem,) = (
            one for one in status.supervisor.problems if one.code is Code.CLUSTER_EVENTS_NOT_SENT
        )
        assert "1 Event " in problem.text
        assert str(server.port) in problem.evidence[0]
        since = status.pools[ATOM].devices[ATOMS[1]].since
        assert since is not None
        agent.end(signal.SIGKILL)
        agent.start()
        server.start()
        sees(server, on_node("DeviceUnhealthy"))
        stack.wait_status(lambda now: not now.supervisor.problems, what="the problem is gone")
    (event,) = event_objects(server)
    assert event["eventTime"] == micro_time(since)


def test_an_event_that_is_refused_does_not_hold_up_others(
    stack: Stack, server: SimApiServer
) -> None:
    refusal = RawAnswer(http_answer(403, b'{"reason":"Forbidden","code":403}'), end="keep")
    server.fault = lambda one: refusal if b"DeviceUnhealthy" in one.body else None
    with running_agent(stack.run_dir, server.kubeconfig()):
        fail(stack, "rbln1")
        eventually(
            lambda: any(b"DeviceUnhealthy" in one.body for one in server.requests), what="it"
        )
        os.kill(stack.workers()[ATOM], signal.SIGKILL)
        sees(server, on_node("PoolWorkerRestarted"))
        server.fault = lambda _: None
        sees(server, on_node("DeviceUnhealthy"))


def test_a_state_that_could_not_be_saved_is_saved_later(stack: Stack, server: SimApiServer) -> None:
    obstacle = stack.run_dir / f"{STATE_FILE}{ASIDE_SUFFIX}"
    with running_agent(stack.run_dir, server.kubeconfig()) as agent:
        eventually(lambda: agent.has_read(agent.sizes()), what="it has saved what it read")
        obstacle.mkdir()
        fail(stack, "rbln1")
        stack.wait_status(
            lambda now: any(
                "may be sent again" in why
                for one in now.supervisor.problems
                for why in one.evidence
            ),
            what="the status says it",
        )
        sees(server, on_node("DeviceUnhealthy"))
        obstacle.rmdir()
        stack.wait_status(lambda now: not now.supervisor.problems, what="the problem is gone")
        assert agent.has_read(agent.sizes())


def kill_worker(stack: Stack) -> None:
    """Kill a worker, and wait until another one serves."""
    killed = stack.workers()[ATOM]
    os.kill(killed, signal.SIGKILL)
    pool_status(
        stack,
        ATOM,
        lambda now: now.registered and now.worker.pid not in {None, killed},
        what="another one serves",
    )


@pytest.mark.parametrize("seed", range(2))
def test_each_transition_counts_once_whatever_ends(
    stack: Stack, server: SimApiServer, seed: int
) -> None:
    """Agent and API server end at any moment; answers are lost; all counts are right in the end."""
    random = Random(seed)  # noqa: S311
    is_up = True

    def lose_some(request: ApiRequest) -> RawAnswer | None:
        if random.random() < 0.7:
            return None
        if random.random() < 0.5:
            server._act(request)
        return RawAnswer(end="reset")

    server.fault = lose_some
    book = EventBook(stack.run_dir)
    with running_agent(stack.run_dir, server.kubeconfig()) as agent:
        for _ in range(8):
            match random.randrange(4):
                case 0:
                    agent.end(random.choice([signal.SIGKILL, signal.SIGTERM]))
                    agent.start()
                case 1 if is_up:
                    server.stop()
                    is_up = False
                case 1:
                    server.start()
                    is_up = True
                case _:
                    kill_worker(stack)
        if not is_up:
            server.start()
        server.fault = lambda _: None
        kill_worker(stack)
        book.read_new()
        deaths = book.due[Subject("PoolWorkerRestarted", ATOM, "")]
        sees(server, on_node("PoolWorkerRestarted", deaths))
    assert not list(book.differences(event_objects(server)))


def test_the_nodes_condition_follows_the_devices_and_goes_with_the_agent(
    stack: Stack, server: SimApiServer
) -> None:
    path = f"/api/v1/nodes/{NODE}/status"
    server.store.objects[path] = {"metadata": {"name": NODE}}

    def condition() -> dict[str, str]:
        found = server.store.objects[path].get("status", {}).get("conditions", [{}])
        return dict(found[0])

    chosen = ("--node-condition", "RblnDevicesUnhealthy")
    with running_agent(stack.run_dir, server.kubeconfig(), *chosen) as agent:
        eventually(lambda: condition().get("status") == "False", what="all is well")
        fail(stack, "rbln1")
        eventually(lambda: condition()["status"] == "True", what="the device is in it")
        assert condition()["type"] == "RblnDevicesUnhealthy"
        assert condition()["reason"] == "DevicesUnhealthy"
        assert ATOMS[1] in condition()["message"]
        assert agent.end() == 0
        assert condition() == {"$patch": "delete", "type": "RblnDevicesUnhealthy"}
        agent.start()
        eventually(lambda: condition().get("status") == "True", what="it is there again")
        agent.end(signal.SIGKILL)
    with running_agent(stack.run_dir, server.kubeconfig()):
        eventually(lambda: "$patch" in condition(), what="an agent without it removes it")
    patches = [one.headers["content-type"] for one in server.requests if one.path == path]
    assert set(patches) == {"application/strategic-merge-patch+json"}


def test_another_exporter_of_our_devices_is_on_the_node(stack: Stack, server: SimApiServer) -> None:
    other_plugin(stack)
    with running_agent(stack.run_dir, server.kubeconfig()):
        sees(server, on_node("ForeignExporter"))
    text = note(server, "ForeignExporter")
    assert text.startswith("example.com/npu: ")
    assert ATOMS[0] in text
