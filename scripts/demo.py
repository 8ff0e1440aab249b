"""What scripts/demo shows: a simulated node and kubelet, and the real supervisor and workers."""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Final

from google.protobuf.json_format import MessageToDict
from rich.console import Console

from tests.sim import network
from tests.sim.device import SimDevice
from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_records import Registered
from tests.sim.node import SimNode
from tests.sim.nodes import Link, demo, npus
from tests.sim.stack import REPOSITORY, Stack
from tests.sim.uevents import inject, pci

ATOM: Final = "rebellions.ai/ATOM"
ATOM_VM: Final = "rebellions.ai/ATOM_VM"
ATOM_TEST: Final = "rebellions.ai/ATOM_TEST"
NET: Final = "intel.com/sriov_net"
POOLS: Final[Mapping[str, int]] = {ATOM: 4, ATOM_VM: 2, NET: 4}
"""With the devices that each has."""
UNPLUGGED: Final = "0000:23:00.0"
PF: Final = SimDevice("0000:5e:00.0", "8086", "1592", "020000", "ice", net=("ens1f0",), totalvfs=64)
NPU_POOLS: Final = [
    {
        "resourceName": name,
        "resourcePrefix": "rebellions.ai",
        "deviceType": "accelerator",
        "selectors": {"vendors": ["1eff"], "drivers": [driver]},
    }
    for name, driver in (("ATOM", "rebellions"), ("ATOM_VM", "vfio-pci"))
]
NET_POOL: Final = {
    "resourceName": "sriov_net",
    "resourcePrefix": "intel.com",
    "selectors": {"pfNames": ["ens1f0"], "drivers": ["iavf"]},
}
TEST_POOL: Final = {
    "resourceName": "ATOM_TEST",
    "resourcePrefix": "rebellions.ai",
    "deviceType": "accelerator",
    "selectors": {"drivers": ["rebellions"], "pciAddresses": [UNPLUGGED]},
}

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 110)


def main() -> int:
    """Show it; 0 where all of it happened."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    keep: bool = parser.parse_args().keep
    say(
        "A node with 4 ATOM NPUs on two NUMA nodes, 2 on vfio-pci for virtual machines, and a "
        "network card with 4 VFs."
    )
    # The kernel's own events, in a network namespace of the supervisor's: where there can be one.
    links = (
        {"ens1f0": Link(pair=True)}
        if network.can("ip link add p0 type veth peer name p1")
        else None
    )
    began = monotonic()
    with Stack(configuration(), node, links=links, watch_config=True) as stack:
        registered(stack, began)
        allocated(stack)
        worker_killed(stack)
        supervisor_killed(stack)
        kubelet_restarted(stack)
        unplugged(stack, heard=links is not None)
        if links is not None:
            link_lost(stack)
        else:
            step("A link's loss is not shown: no network namespace can be made here")
        reloaded(stack)
        step("The node at the end: rbln-ctl status")
        show_status(stack)
        if keep:
            wait_for_ctrl_c(stack)
    say("\n[green]All of it happened. Everything is stopped, nothing is left.[/]")
    return 0


def node(sim: SimNode) -> None:
    """The simulated node."""
    demo(sim)
    sim.add(PF)
    sim.enable_vfs(PF.bdf, POOLS[NET], driver="iavf")


def configuration(*first: object) -> str:
    """The pools, and others before them."""
    return json.dumps({"resourceList": [*first, *NPU_POOLS, NET_POOL]}, indent=2)


def registered(stack: Stack, began: float) -> None:
    """The start."""
    step("The supervisor starts: one worker process for each resource pool")
    stack.kubelet.wait(all_listed, what="all pools listed")
    done(f"the kubelet lists all pools, {since(began)} after the start of the first process")
    for name, pid in stack.workers().items():
        seen = stack.kubelet.resource(name)
        say(f"   {name:<22} worker {pid}   {seen.allocatable} of {seen.capacity} allocatable")


def allocated(stack: Stack) -> None:
    """The whole answer to an Allocate."""
    step("A container wants two NPUs: Allocate")
    began = monotonic()
    answer = stack.kubelet.allocate(ATOM, [["0000:21:00.0", "0000:20:00.0"]])
    done(f"answered in {since(began)}: environment, device nodes and the vendor's tool")
    told = MessageToDict(answer, preserving_proto_field_name=True)["container_responses"][0]
    console.print_json(json.dumps(told))


def worker_killed(stack: Stack) -> None:
    """One pool's worker dies; the other pool sees nothing."""
    step(f"The worker of {ATOM} is killed (SIGKILL)")
    before = stack.workers()
    with undisturbed(stack.kubelet, ATOM_VM, NET):
        old = stack.kubelet.resource(ATOM).endpoint
        began = monotonic()
        os.kill(before[ATOM], signal.SIGKILL)
        stack.kubelet.wait(
            lambda k: k.resource(ATOM).allocatable == 4 and k.resource(ATOM).endpoint != old,
            what=f"{ATOM} listed by a new worker",
        )
        done(f"listed again after {since(began)}: worker {before[ATOM]}, now {pid(stack, ATOM)}")
    done(f"{ATOM_VM}: same worker {before[ATOM_VM]}, same stream, no message")


def kubelet_restarted(stack: Stack) -> None:
    """The kubelet restarts and deletes every socket, as the real one does."""
    step("The kubelet restarts, and deletes every socket in its folder")
    stack.kubelet.stop()
    began = monotonic()
    stack.kubelet.start()
    stack.kubelet.wait(all_listed, what="all pools listed again")
    done(f"all pools serve fresh sockets and are listed again, {since(began)} after its start")


def supervisor_killed(stack: Stack) -> None:
    """The supervisor dies; nobody sees anything."""
    step("The supervisor is killed (SIGKILL), and supervisord starts it again")
    before = stack.workers()
    with undisturbed(stack.kubelet, *POOLS):
        stack.kill()
        answer = stack.kubelet.allocate(ATOM, [["0000:20:00.0"]])
        done(f"meanwhile Allocate is answered: {len(answer.container_responses)} container")
        began = monotonic()
        stack.start()
        stack.wait_status(lambda status: status.supervisor.ready, what="it is ready")
        done(f"it has adopted {len(before)} workers {since(began)} after its start")
    if stack.workers() != before:
        raise AssertionError(f"other workers: {before} were, {stack.workers()} are")
    done("same workers, same streams, no message")


def unplugged(stack: Stack, *, heard: bool) -> None:
    """A device goes and comes back."""
    step(f"The NPU {UNPLUGGED} is unplugged, and plugged in again")
    with undisturbed(stack.kubelet, ATOM_VM, NET):
        stack.node.remove(UNPLUGGED)
        began = monotonic()
        cause = kernel_says(stack, "remove") if heard else rescan(stack)
        stack.kubelet.wait(lambda k: k.resource(ATOM).allocatable == 3, what="one less")
        done(f"{cause}: {since(began)} later 3 of 4 are allocatable")
        stack.wait_status(
            lambda status: status.pools[ATOM].devices[UNPLUGGED].reason == "unplugged",
            what="the reason",
        )
        show_devices(stack, ATOM)
        stack.node.add(next(npu for npu in npus(4, numa_nodes=2) if npu.bdf == UNPLUGGED))
        began = monotonic()
        cause = kernel_says(stack, "bind") if heard else rescan(stack)
        stack.kubelet.wait(lambda k: k.resource(ATOM).allocatable == 4, what="all again")
        done(f"{cause}: {since(began)} later all 4 are")


def link_lost(stack: Stack) -> None:
    """A cable is pulled, and put in again."""
    step(f"The link of {PF.net[0]} is lost: its VFs can't reach anybody")
    with undisturbed(stack.kubelet, ATOM, ATOM_VM):
        peer = network.peer(PF.net[0])
        began = monotonic()
        network.run(stack.pid, f"ip link set {peer} down")
        stack.kubelet.wait(lambda k: k.resource(NET).allocatable == 0, what="none")
        done(f"{since(began)} later none of {POOLS[NET]} is allocatable, in one message")
        stack.wait_status(
            lambda status: all(one.reason for one in status.pools[NET].devices.values()),
            what="the reasons",
        )
        show_devices(stack, NET, most=1)
        began = monotonic()
        network.run(stack.pid, f"ip link set {peer} up")
        stack.kubelet.wait(lambda k: k.resource(NET).allocatable == POOLS[NET], what="all again")
        done(f"it is back: {since(began)} later all {POOLS[NET]} are")


def reloaded(stack: Stack) -> None:
    """A new pool takes a device of another one; the file is watched."""
    step(f"The configuration file changes: a new pool {ATOM_TEST} gets {UNPLUGGED}")
    with undisturbed(stack.kubelet, ATOM_VM, NET):
        began = monotonic()
        stack.write_config(configuration(TEST_POOL))
        stack.kubelet.wait(
            lambda k: (
                k.resource(ATOM_TEST).allocatable == 1 and UNPLUGGED not in k.resource(ATOM).devices
            ),
            what="the device has moved",
        )
        done(f"{since(began)} later the device has moved; the other pools saw nothing")
    stack.wait_status(lambda status: status.supervisor.ready, what="it is active")
    stack.write_config(
        '{"resourceList": [{"resourceName": "ATOM", "selectors": {"vendors": "1eff"}}]}'
    )
    status = stack.wait_status(lambda status: status.supervisor.problems, what="the complaint")
    done("a wrong file changes nothing, and says what is wrong:")
    for problem in status.supervisor.problems:
        say(f"   {problem.text}")


def kernel_says(stack: Stack, action: str) -> str:
    """Send the uevent that the kernel would."""
    inject(stack.pid, [pci(action, UNPLUGGED)])
    return f"a kernel uevent ({action})"


def rescan(stack: Stack) -> str:
    """Request a discovery."""
    stack.ctl("rescan")
    return "rbln-ctl rescan"


def show_devices(stack: Stack, pool: str, most: int = 8) -> None:
    """What status says of a pool's sick devices."""
    devices = stack.status().pools[pool].devices
    sick = [(name, one) for name, one in devices.items() if one.reason]
    for name, one in sick[:most]:
        say(f"   {name}  {one.health}: {one.reason}")
    if len(sick) > most:
        say(f"   … and {len(sick) - most} more")


def show_status(stack: Stack) -> None:
    """The table as a person gets it."""
    command = [sys.executable, "-m", "rbln_supervisor.ctl", "--run-dir", str(stack.run_dir)]
    sys.stdout.flush()
    subprocess.run([*command, "status"], check=True)


def wait_for_ctrl_c(stack: Stack) -> None:
    """Leave all of it to the person at the terminal."""
    say(f"\nIt runs on. In a second terminal, from {REPOSITORY}:\n")
    say(f"   .venv/bin/rbln-ctl --run-dir {stack.run_dir} status")
    say(f"   .venv/bin/rbln-ctl --run-dir {stack.run_dir} rescan")
    say(f"   edit {stack.config_file}        it is watched")
    say(f"   kill -9 {pid(stack, ATOM)}        the worker of {ATOM}")
    say(f"   tail -f {stack.log_file}\n\nCtrl-C ends it.")
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the first
        signal.signal(number, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("")


@contextmanager
def undisturbed(kubelet: SimKubelet, *resources: str) -> Iterator[None]:
    """Fails where the kubelet hears anything of these resources meanwhile."""
    before = [heard_of(kubelet, resource) for resource in resources]
    yield
    if [heard_of(kubelet, resource) for resource in resources] != before:
        raise AssertionError(f"one of {resources} was disturbed\n{kubelet.story()}")


def heard_of(kubelet: SimKubelet, resource: str) -> int:
    """How many things the kubelet has heard of a resource.

    The end of Register is left out: it is noted a moment after the first message.
    """
    return sum(
        record.resource == resource and not isinstance(record, Registered)
        for record in kubelet.records
    )


def all_listed(kubelet: SimKubelet) -> bool:
    """Every device of the node is allocatable."""
    return all(kubelet.resource(name).allocatable == count for name, count in POOLS.items())


def pid(stack: Stack, pool: str) -> int:
    """The pool's worker, once the supervisor has heard of it."""
    stack.wait_status(lambda status: status.pools[pool].state == "serving", what="it serves")
    return stack.workers()[pool]


def since(began: float) -> str:
    """How long ago, for people."""
    seconds = monotonic() - began
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def step(text: str) -> None:
    """A heading."""
    console.print(f"\n[bold cyan]▶ {text}[/]")


def done(text: str) -> None:
    """Something that was waited for and came."""
    console.print(f" [green]✓[/] {text}")


def say(text: str) -> None:
    """A line."""
    console.print(text)


if __name__ == "__main__":
    sys.exit(main())
