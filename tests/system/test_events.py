"""What happened, asked for while it happens and afterwards: each transition once, whoever dies."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from rbln_supervisor.core.control.protocol import Events, EventsReply
from rbln_supervisor.core.events.event import Event, Query
from rbln_supervisor.ctl.client import send_request
from rbln_supervisor.events import log
from tests.sim import atomic
from tests.sim.stack import REPOSITORY, Stack
from tests.system.scene import (
    ATOM,
    ATOMS,
    TWO_POOLS,
    VM,
    allocatable,
    eventually,
    pool_status,
    served,
)

pytestmark = pytest.mark.system


def events(stack: Stack, query: Query | None = None) -> list[Event]:
    reply = send_request(stack.run_dir, Events(query or Query()))
    assert isinstance(reply, EventsReply)
    return list(reply.events)


def told(stack: Stack, condition: Callable[[list[Event]], object], *, what: str) -> list[Event]:
    """The events as soon as a condition holds for them."""
    eventually(lambda: condition(events(stack)), what=what)
    return events(stack)


def words(found: list[Event], device: str) -> list[str]:
    return [event.what for event in found if event.device == device]


def test_a_device_falls_and_rises() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_status("rbln1", 3)
        allocatable(stack, ATOM, 3)
        stack.node.set_status("rbln1", 0)
        allocatable(stack, ATOM, 4)
        found = told(
            stack, lambda now: words(now, ATOMS[1]) == ["Unhealthy", "Healthy"], what="both"
        )
        fell = next(event for event in found if event.device == ATOMS[1])
        assert (fell.kind, fell.pool, fell.source) == ("device", ATOM, "npu-status")
        assert "FAULT" in fell.why
        assert not words(found, ATOMS[0])
        numbers = [event.number for event in found]
        assert numbers == sorted(set(numbers))
        done = stack.ctl("events", "--device", "21:00.0", "--json")
        assert [one["what"] for one in json.loads(done.stdout)["events"]] == [
            "Unhealthy",
            "Healthy",
        ]


def test_what_a_start_is_made_of() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        found = told(
            stack,
            lambda now: (
                [e.what for e in now if e.pool == VM and e.kind == "pool"][-1:] == ["serving"]
            ),
            what="VM serves",
        )
        assert found[0].kind == "supervisor"
        assert [event.what for event in found if event.pool == VM] == [
            "started",
            "starting",
            "registered",
            "serving",
        ]


def test_one_event_a_transition_over_an_adoption() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_status("rbln1", 3)
        allocatable(stack, ATOM, 3)
        before = told(stack, lambda now: words(now, ATOMS[1]) == ["Unhealthy"], what="it fell")
        stack.kill()
        # Seen by nobody but the worker: it is told with the time at which it was.
        stack.node.set_status("rbln2", 3)
        allocatable(stack, ATOM, 2)
        stack.node.set_status("rbln2", 0)
        allocatable(stack, ATOM, 3)
        stack.start()
        served(stack)
        found = told(
            stack,
            lambda now: words(now, ATOMS[2]) == ["Unhealthy", "Healthy"],
            what="what happened meanwhile",
        )
        assert found[: len(before)] == before
        since = found[len(before) :]
        assert words(found, ATOMS[1]) == ["Unhealthy"]
        assert since[0].what == "started"
        assert since[0].kind == "supervisor"
        assert all(event.at <= since[0].at for event in since if event.device)
        adopted = [(event.pool, event.what) for event in since if event.kind == "worker"]
        assert sorted(adopted) == [(ATOM, "adopted"), (VM, "adopted")]
        assert not [event for event in since if event.kind in {"pool", "registration"}]


def test_deaths_reloads_and_kubelets() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_status("rbln3", 3)
        allocatable(stack, ATOM, 3)
        os.kill(stack.workers()[ATOM], signal.SIGKILL)
        pool_status(
            stack,
            ATOM,
            lambda now: now.worker.restarts == 1 and now.state == "serving",
            what="a new worker serves",
        )
        stack.write_config({"resourceList": "no"})
        assert stack.ctl("reload").returncode == 1
        stack.kubelet.restart()
        served(stack)
        found = told(
            stack,
            lambda now: {"refused", "restarted"} <= {event.what for event in now},
            what="all of it",
        )
        died = [event for event in found if (event.kind, event.what) == ("worker", "died")]
        assert [(event.pool, event.why) for event in died] == [(ATOM, "killed by SIGKILL")]
        # The worker that came says again how its devices are: that is no news.
        assert words(found, ATOMS[3]) == ["Unhealthy"]
        refused = next(event for event in found if event.kind == "reload")
        assert "expected array, got string" in refused.why
        assert [event for event in found if event.kind == "kubelet"]


def test_without_a_supervisor_the_files_tell() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_status("rbln1", 3)
        told(stack, lambda now: words(now, ATOMS[1]), what="it fell")
        stack.kill()
        with (stack.run_dir / log.FILE).open("ab") as file:
            file.write(b'{"number":99,"at":1,"ki')
        done = stack.ctl("events", "--pool", "ATOM")
        assert done.returncode == 3
        assert "FAULT" in done.stdout
        assert "events.jsonl says" in done.stderr
        stack.start()
        served(stack)
        found = told(
            stack, lambda now: [e.what for e in now].count("adopted") == 2, what="both adopted"
        )
        assert [event.number for event in found] == list(range(1, len(found) + 1))
        lines = (stack.run_dir / log.FILE).read_bytes().splitlines()
        assert len(lines) == len(found) + 1  # the torn one stays, and harms nobody
        assert stack.run_dir.joinpath(log.FILE).stat().st_mode & 0o777 == 0o600


def test_somebody_who_follows_sees_a_supervisor_go_and_come() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        following = subprocess.Popen(
            [
                *(sys.executable, "-m", "rbln_supervisor.ctl", "--run-dir", str(stack.run_dir)),
                *("events", "--follow", "--json", "-n", "1"),
            ],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert following.stdout is not None
        first: dict[str, Any] = json.loads(following.stdout.readline())
        stack.kill()
        stack.start()
        following_said = json.loads(following.stdout.readline())
        assert following_said["number"] == first["number"] + 1
        assert following_said["kind"] == "supervisor"
        following.send_signal(signal.SIGINT)
        _, errors = following.communicate(timeout=30)
        assert following.returncode == 0
        assert b"Traceback" not in errors


def test_what_cannot_be_written_is_written_when_it_can() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        place = stack.run_dir / log.FILE
        atomic.put_folder(place)
        stack.node.set_status("rbln1", 3)
        problem = f"events are lost at a restart: {place}: Is a directory"
        stack.wait_status(
            lambda status: problem in status.supervisor.problems, what="it says what is wrong"
        )
        place.rmdir()
        stack.wait_status(
            lambda status: not status.supervisor.problems, what="without any other event"
        )
        stack.kill()
        stack.start()
        stack.wait_status(lambda status: status.supervisor.ready, what="the next one is ready")
        found = told(stack, lambda now: words(now, ATOMS[1]), what="events of before")
        assert words(found, ATOMS[1]) == ["Unhealthy"]
