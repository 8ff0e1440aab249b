"""What happened, read while it happens and afterwards: each transition once, whoever dies."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from rbln_supervisor.core.events.query import Query
from rbln_supervisor.ctl.events_command import NodeEvents
from rbln_supervisor.events import log
from rbln_worker.contract.events import Event
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
    texts,
)

pytestmark = pytest.mark.system


def events(stack: Stack) -> list[Event]:
    return list(NodeEvents(stack.run_dir).read_new(Query()))


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
        before = told(
            stack,
            lambda now: (
                words(now, ATOMS[1]) == ["Unhealthy"]
                and [event.what for event in now].count("serving") == 2
            ),
            what="it fell, and all before it",
        )
        stack.kill()
        stack.node.set_status("rbln2", 3)
        allocatable(stack, ATOM, 2)
        stack.node.set_status("rbln2", 0)
        allocatable(stack, ATOM, 3)
        stack.start()
        served(stack)
        found = told(
            stack,
            lambda now: [event.what for event in now].count("adopted") == 2,
            what="both are adopted",
        )
        assert found[: len(before)] == before
        assert words(found, ATOMS[1]) == ["Unhealthy"]
        meanwhile, since = found[len(before) : len(before) + 2], found[len(before) + 2 :]
        assert words(meanwhile, ATOMS[2]) == ["Unhealthy", "Healthy"]
        assert (since[0].kind, since[0].what) == ("supervisor", "started")
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


def test_events_need_no_supervisor_and_survive_a_torn_line() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.node.set_status("rbln1", 3)
        told(stack, lambda now: words(now, ATOMS[1]), what="it fell")
        stack.kill()
        with (stack.run_dir / log.FILE).open("ab") as file:
            file.write(b'{"at":1,"ki')
        done = stack.ctl("events", "--pool", "ATOM")
        assert (done.returncode, done.stderr) == (0, "")
        assert "FAULT" in done.stdout
        stack.start()
        served(stack)
        told(stack, lambda now: [e.what for e in now].count("adopted") == 2, what="both adopted")
        for path in (stack.run_dir / log.FILE, *(stack.run_dir / "pools").glob("*.events")):
            assert path.stat().st_mode & 0o777 == 0o600


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
        json.loads(following.stdout.readline())
        stack.kill()
        stack.start()
        seen: dict[str, Any] = {}
        while (seen.get("kind"), seen.get("what")) != ("supervisor", "started"):
            seen = json.loads(following.stdout.readline())
        following.send_signal(signal.SIGINT)
        _, errors = following.communicate(timeout=30)
        assert following.returncode == 0
        assert b"Traceback" not in errors


def test_what_cannot_be_written_is_written_when_it_can() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        place = stack.run_dir / log.FILE
        of_pool = stack.run_dir / "pools" / f"{ATOM.replace('/', '_')}.events"
        atomic.put_folder(place)
        atomic.put_folder(of_pool)
        stack.node.set_status("rbln1", 3)
        allocatable(stack, ATOM, 3)
        assert stack.ctl("reload").returncode == 0
        problem = "events are lost at a restart: {}: Is a directory"
        stack.wait_status(
            lambda status: (
                problem.format(place) in texts(status.supervisor.problems)
                and problem.format(of_pool) in texts(status.pools[ATOM].problems)
            ),
            what="it says what is wrong",
        )
        place.rmdir()
        of_pool.rmdir()
        stack.wait_status(
            lambda status: not status.supervisor.problems and not status.pools[ATOM].problems,
            what="without any other event",
        )
        found = told(stack, lambda now: words(now, ATOMS[1]), what="the events of then")
        assert words(found, ATOMS[1]) == ["Unhealthy"]
        assert [event.what for event in found if event.kind == "reload"] == ["done"]
