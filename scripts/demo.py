"""What scripts/demo shows: a simulated node and kubelet, and the real supervisor and workers."""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

from google.protobuf.json_format import MessageToDict
from rich.console import Console

from tests.sim.kubelet import SimKubelet
from tests.sim.nodes import npus
from tests.sim.stack import REPOSITORY, Stack

ATOM: Final = "rebellions.ai/ATOM"
ATOM_VM: Final = "rebellions.ai/ATOM_VM"
UNPLUGGED: Final = "0000:23:00.0"
CONFIG: Final = REPOSITORY / "conf" / "atom-and-vm.json"

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 110)


def main() -> int:
    """Show it; 0 where all of it happened."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    keep: bool = parser.parse_args().keep
    say("A node with 4 ATOM NPUs on two NUMA nodes, and 2 on vfio-pci for virtual machines.")
    began = monotonic()
    with Stack(CONFIG.read_text(), watch_config=True) as stack:
        registered(stack, began)
        allocated(stack)
        worker_killed(stack)
        kubelet_restarted(stack)
        unplugged(stack)
        step("The node at the end: rbln-ctl status")
        show_status(stack)
        if keep:
            wait_for_ctrl_c(stack)
    say("\n[green]All of it happened. Everything is stopped, nothing is left.[/]")
    return 0


def registered(stack: Stack, began: float) -> None:
    """The start."""
    step("The supervisor starts: one worker process for each resource pool")
    stack.kubelet.wait(all_listed, what="both pools listed")
    done(f"the kubelet lists both pools, {since(began)} after the start of the first process")
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
    with undisturbed(stack.kubelet, ATOM_VM):
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
    stack.kubelet.wait(all_listed, what="both pools listed again")
    done(f"both pools serve fresh sockets and are listed again, {since(began)} after its start")


def unplugged(stack: Stack) -> None:
    """A device goes and comes back."""
    step(f"The NPU {UNPLUGGED} is unplugged, and plugged in again")
    with undisturbed(stack.kubelet, ATOM_VM):
        stack.node.remove(UNPLUGGED)
        began = monotonic()
        stack.ctl("rescan")
        stack.kubelet.wait(lambda k: k.resource(ATOM).allocatable == 3, what="one less")
        done(f"rbln-ctl rescan: {since(began)} later 3 of 4 are allocatable")
        device = stack.status().pools[ATOM].devices[UNPLUGGED]
        say(f"   {UNPLUGGED}  {device.health}: {device.reason}")
        stack.node.add(next(npu for npu in npus(4, numa_nodes=2) if npu.bdf == UNPLUGGED))
        began = monotonic()
        stack.ctl("rescan")
        stack.kubelet.wait(lambda k: k.resource(ATOM).allocatable == 4, what="all again")
        done(f"plugged in again: {since(began)} later all 4 are")


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
def undisturbed(kubelet: SimKubelet, resource: str) -> Iterator[None]:
    """Fails where the kubelet hears anything of a resource meanwhile."""
    before = heard_of(kubelet, resource)
    yield
    if heard_of(kubelet, resource) != before:
        raise AssertionError(f"{resource} was disturbed\n{kubelet.story()}")


def heard_of(kubelet: SimKubelet, resource: str) -> int:
    """How many things the kubelet has heard of a resource."""
    return sum(record.resource == resource for record in kubelet.records)


def all_listed(kubelet: SimKubelet) -> bool:
    """Every device of the node is allocatable."""
    return kubelet.resource(ATOM).allocatable == 4 and kubelet.resource(ATOM_VM).allocatable == 2


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
