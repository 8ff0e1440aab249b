"""A configuration that is read again: what it changes, and what it leaves alone."""

import json
import os
import signal

import pytest

from rbln_supervisor.core.control.protocol import ErrorReply, Reload, ReloadReply
from rbln_supervisor.core.status import CounterName
from rbln_supervisor.ctl.client import send_request
from tests.sim import processes
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VM_POOL,
    VMS,
    allocatable,
    config,
    eventually,
    pool,
    served,
    sight,
    sockets,
    texts,
    untouched,
)

pytestmark = pytest.mark.system

NEW = "rebellions.ai/NEW"


def reload(stack: Stack, *pools: dict[str, object]) -> ReloadReply:
    stack.write_config(config(*pools))
    reply = send_request(stack.run_dir, Reload())
    assert isinstance(reply, ReloadReply), reply
    return reply


def test_pools_are_added_removed_changed_and_left_alone() -> None:
    first = pool("FIRST", pciAddresses=list(ATOMS[:1]))
    second = pool("SECOND", pciAddresses=list(ATOMS[1:2]))
    with Stack(config(first, second, VM_POOL)) as stack:
        served(stack, "rebellions.ai/FIRST", "rebellions.ai/SECOND", VM)
        workers = stack.workers()
        with untouched(stack, VM):
            reply = reload(
                stack,
                VM_POOL,
                pool("SECOND", pciAddresses=list(ATOMS[1:3])),
                pool("NEW", pciAddresses=list(ATOMS[3:])),
            )
            assert {name: pool.change for name, pool in reply.plan.pools.items()} == {
                NEW: "added",
                "rebellions.ai/FIRST": "removed",
                "rebellions.ai/SECOND": "changed",
                VM: "unchanged",
            }
            assert [(move.device, move.before, move.after) for move in reply.plan.moves] == [
                (ATOMS[0], "rebellions.ai/FIRST", None),
                (ATOMS[2], None, "rebellions.ai/SECOND"),
                (ATOMS[3], None, NEW),
            ]
            assert reply.plan.stay == len(VMS) + 1
            assert stack.status().pools[NEW].worker.pid  # it is up when the answer comes
            allocatable(stack, "rebellions.ai/SECOND", 2)
            served(stack, NEW)
            stack.kubelet.wait(
                lambda k: k.resource("rebellions.ai/FIRST").endpoint is None,
                what="the end of the removed pool's stream",
            )
        assert processes.has_ended(workers["rebellions.ai/FIRST"], 5.0)
        status = stack.wait_status(
            lambda status: all(p.state == "serving" for p in status.pools.values()), what="all"
        )
        assert status.pools.keys() == {VM, "rebellions.ai/SECOND", NEW}
        assert stack.workers()["rebellions.ai/SECOND"] == workers["rebellions.ai/SECOND"]
        assert sockets(stack) == {seen.endpoint for seen in status.pools.values()}
        assert sum(r.resource == "rebellions.ai/SECOND" for r in stack.kubelet.registrations) == 1


def test_the_same_file_again_changes_nothing() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, ATOM, VM):
            done = stack.ctl("reload", "--json")
            pools = json.loads(done.stdout)["plan"]["pools"]
            assert {name: one["change"] for name, one in pools.items()} == {
                ATOM: "unchanged",
                VM: "unchanged",
            }
            assert done.returncode == 0
            assert stack.ctl("rescan").returncode == 0
            assert stack.ctl("reload").stdout == ("reloaded: nothing changed, 2 pools as before\n")


def info(stack: Stack) -> dict[str, dict[str, dict[str, str]]]:
    """What a container that gets all of ATOM's devices is told."""
    (answer,) = stack.kubelet.allocate(ATOM, [list(ATOMS)]).container_responses
    told: dict[str, dict[str, dict[str, str]]] = json.loads(
        answer.envs["PCIDEVICE_REBELLIONS_AI_ATOM_INFO"]
    )
    return told


def test_additional_info_changes_answers_and_nothing_else() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        before = sight(stack, ATOM)
        with untouched(stack, VM):
            changed = {**ATOM_POOL, "additionalInfo": {"*": {"rack": "7"}}}
            assert reload(stack, changed, VM_POOL).plan.pools_with("changed") == (ATOM,)
            eventually(lambda: "extra" in info(stack)[ATOMS[0]], what="answers with the new key")
        assert {bdf: sections["extra"] for bdf, sections in info(stack).items()} == {
            bdf: {"rack": "7"} for bdf in ATOMS
        }
        assert sight(stack, ATOM) == before


def test_topology_can_be_taken_away() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            reload(stack, {**ATOM_POOL, "excludeTopology": True}, VM_POOL)
            stack.kubelet.wait(
                lambda k: {d.numa for d in k.resource(ATOM).devices.values()} == {()},
                what="devices without topology",
            )
        assert len(stack.kubelet.registrations) == 2


def test_devices_move_between_pools_at_once() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            new = pool("NEW", pciAddresses=[ATOMS[0]])
            assert reload(stack, new, ATOM_POOL, VM_POOL).plan.pools_with("added") == (NEW,)
            allocatable(stack, NEW, 1)
            stack.kubelet.wait(
                lambda k: k.resource(ATOM).devices.keys() == set(ATOMS[1:]), what="it left ATOM"
            )


def test_a_pool_that_comes_back_serves_again() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            for _ in range(3):  # faster than its worker can leave
                assert reload(stack, VM_POOL).plan.pools_with("removed") == (ATOM,)
                assert reload(stack, ATOM_POOL, VM_POOL).plan.pools_with("added") == (ATOM,)
            allocatable(stack, ATOM, len(ATOMS))
        served(stack)
        expected = sorted([stack.pid, *stack.workers().values()])
        assert sorted(stack.processes()) == expected


def test_a_pool_may_be_mended() -> None:
    with Stack(config(ATOM_POOL, {**VM_POOL, "selectors": 7})) as stack:
        assert served(stack, ATOM).pools[VM].state == "invalid"
        with untouched(stack, ATOM):
            assert reload(stack, ATOM_POOL, VM_POOL).plan.pools_with("added") == (VM,)
            served(stack, VM)
            allocatable(stack, VM, len(VMS))


BROKEN = {
    "no JSON": ("{", "no JSON"),
    "empty": ("", "expected"),
    "no list": ("{}", "resourceList: missing, expected array"),
    "a wrong type": (
        json.dumps(config({**ATOM_POOL, "selectors": {"vendors": [7]}}, VM_POOL)),
        "resourceList[0].selectors.vendors[0]: expected string",
    ),
    "a name twice": (
        json.dumps(config(ATOM_POOL, VM_POOL, ATOM_POOL)),
        f"resourceList[2].resourceName: {ATOM} is the name of resourceList[0]",
    ),
}


def test_a_broken_file_is_refused_and_nothing_changes() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, ATOM, VM):
            for text, complaint in BROKEN.values():
                stack.write_config(text)
                done = stack.ctl("reload")
                assert (done.returncode, done.stdout) == (1, "")
                (line,) = done.stderr.splitlines()
                assert line.startswith("rbln-ctl: ")
                assert complaint in line
            stack.config_file.unlink()
            (error,) = refused(stack)
            assert error == f"{stack.config_file}: can't be read: No such file or directory"
        status = stack.status()
        assert status.supervisor.counters[CounterName.RELOADS_REFUSED] == len(BROKEN) + 1
        assert texts(status.supervisor.problems) == (f"reload refused: {error}",)
        stack.write_config(TWO_POOLS)
        assert isinstance(send_request(stack.run_dir, Reload()), ReloadReply)
        assert stack.status().supervisor.problems == ()


def refused(stack: Stack) -> tuple[str, ...]:
    reply = send_request(stack.run_dir, Reload())
    assert isinstance(reply, ErrorReply), reply
    return reply.errors


def test_every_complaint_of_a_file_is_a_line() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.write_config(
            config(pool("A_", drivers=["x"]), pool("B", drivers="x"), pool("C", prefix="-"))
        )
        done = stack.ctl("reload")
        assert done.returncode == 1
        places = [line.split(": ")[1] for line in done.stderr.splitlines()]
        assert places == [
            "resourceList[0].resourceName",
            "resourceList[1].selectors.drivers",
            "resourceList[2].resourcePrefix",
        ]


def test_sighup_is_a_reload() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        with untouched(stack, VM):
            stack.write_config(config(pool("NEW", drivers=["rebellions"]), VM_POOL))
            os.kill(stack.pid, signal.SIGHUP)
            allocatable(stack, NEW, len(ATOMS))
            stack.write_config("nonsense")
            os.kill(stack.pid, signal.SIGHUP)
            stack.wait_status(lambda s: s.supervisor.problems, what="a refused reload")
        assert ATOM not in stack.status().pools
