"""Our plugin and another one, in turn, on the same node, before the same kubelet."""

import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

import msgspec

from tests.bench import calls, scene
from tests.bench.arena import Arena, NotPossible, prove_nodes
from tests.bench.catalogue import FIGURES
from tests.bench.measuring import calm, figure, total_kib
from tests.bench.own import PAUSE_S, idle_cores
from tests.bench.pages import together_kib
from tests.bench.plugin import Failed, Plugin
from tests.bench.roll import Roll
from tests.bench.values import Figure, Rounds, Subject, Unit
from tests.sim.uevents import Injector, pci

__all__ = ["Failed", "NotPossible"]  # whoever measures needs no other module for it

PATIENCE_S: Final = 120.0
NEVER_S: Final = 3.0
"""What has not led to a message by then does not lead to one."""
BACK_S: Final = 15.0
"""For a device that is whole again: more than a probation."""
PLACE: Final = "{config}"
ORDER: Final[tuple[Subject, ...]] = ("other", "ours")
"""The other first: what is wrong with it is known soon."""
NAMES: Final[Mapping[Subject, str]] = {"ours": "rbln-supervisor", "other": "the other plugin"}


class Command(NamedTuple):
    """The other plugin's."""

    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called, without the program's folder."""
        return shlex.join((Path(self.words[0]).name, *self.words[1:]))

    def of(self, config: Path) -> tuple[str, ...]:
        """The words for a configuration."""
        return tuple(word.replace(PLACE, str(config)) for word in self.words)


def command(text: str, groups: Collection[str]) -> Command:
    """What was asked for; NotPossible where it can't be run as it should."""
    measurable = ("start", *GROUPS)
    if not {*groups} & {*measurable}:
        raise NotPossible(f"--against measures {', '.join(measurable)}: --only has none of them")
    if PLACE not in text:
        raise NotPossible(
            f"--against: the command has no {PLACE}, which stands for the configuration's path"
        )
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise NotPossible(f"--against: {error}") from error
    if shutil.which(words[0]) is None:
        raise NotPossible(f"--against: {words[0]}: there is no such program")
    if os.geteuid() != 0:
        raise NotPossible("--against needs root: it mounts a simulated node's /sys and /dev")
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        raise NotPossible(f"--against needs namespaces: {tried.stderr.strip()}")
    prove_nodes()
    return Command(words)


def measured(
    other: Command,
    sizes: Sequence[scene.Size],
    rounds: Rounds,
    groups: Collection[str],
    patience_s: float,
) -> Iterator[tuple[Figure, ...]]:
    """The figures of both, size by size; Failed, NotPossible."""
    for size in sizes:
        kept: dict[Subject, Kept] = {"ours": Kept(), "other": Kept()}
        for _ in range(rounds.turns):
            for subject in ORDER:
                _turn(size, rounds, groups, patience_s, kept[subject], subject, other)
        yield tuple(
            msgspec.structs.replace(one, of=subject)
            for subject, samples in kept.items()
            for one in samples.figures(size.name)
        )


@dataclass
class Kept:
    """The samples of all turns of a plugin."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    whys: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, unit: Unit, samples: Sequence[float], why: str = "") -> None:
        """Some of a turn; ``why`` where there are none."""
        self.units[name] = unit
        self.samples.setdefault(name, []).extend(samples)
        if why:
            self.whys[name] = why

    def figures(self, size: str) -> Iterator[Figure]:
        """In the order of the table."""
        for name in FIGURES:
            if name in self.units:
                why = self.whys.get(name, "")
                yield figure(name, size, self.units[name], self.samples[name], why)


@dataclass
class Turn:
    """One life of a plugin, all of whose devices are listed."""

    size: scene.Size
    rounds: Rounds
    patience_s: float
    plugin: Plugin
    kept: Kept

    def waited(self, name: str, seconds: float | None, patience_s: float) -> bool:
        """Keep what was waited for; whether it came."""
        took, why = ([], f"never ({patience_s:g} s)") if seconds is None else ([seconds], "")
        self.kept.add(name, "s", took, why)
        return seconds is not None


def _turn(
    size: scene.Size,
    rounds: Rounds,
    groups: Collection[str],
    patience_s: float,
    kept: Kept,
    subject: Subject,
    other: Command,
) -> None:
    print(f"bench: {size.name}, {NAMES[subject]}", file=sys.stderr, flush=True)
    devices = scene.npus(size.devices)
    with Arena(scene.config(size, devices), devices) as arena:
        calm()
        words = other.of(arena.config) if subject == "other" else _ours(arena.config)
        with Plugin(arena, Roll(arena.kubelet), words, NAMES[subject]) as plugin:
            started_s = plugin.start(size.devices, patience_s)
            if "start" in groups:
                kept.add("start", "s", [started_s])
            turn = Turn(size, rounds, patience_s, plugin, kept)
            for name, group in GROUPS.items():
                if name in groups and not group(turn):
                    return  # it is not whole again: what would follow is of something else


def _ours(config: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "rbln_supervisor", "--config-file", str(config))


def allocate(turn: Turn) -> bool:
    """From the client's call to its answer; beside ours, that of an empty server."""
    if turn.plugin.name != NAMES["ours"]:
        return _called(turn, "allocate", calls.allocate)
    kubelet, resource = turn.plugin.arena.kubelet, turn.size.resources[0]
    ours, empty = calls.allocate_and_floor(kubelet, resource, turn.rounds.calls)
    turn.kept.add("allocate", "s", ours)
    turn.kept.add("allocate-floor", "s", empty)
    return True


def prefer(turn: Turn) -> bool:
    """From the client's call to its answer."""
    return _called(turn, "prefer", calls.prefer)


def memory(turn: Turn) -> bool:
    """Of all that the command started."""
    pids = turn.plugin.arena.processes()
    turn.kept.add("frames", "KiB", together_kib(pids))
    turn.kept.add("rss", "KiB", [total_kib(pids, "Rss")])
    turn.kept.add("pss", "KiB", [total_kib(pids, "Pss")])
    return True


def idle(turn: Turn) -> bool:
    """While nothing happens."""
    pids = turn.plugin.arena.processes()
    turn.kept.add("idle", "cores", [idle_cores(pids, turn.rounds.idle_s)])
    return True


def kubelet(turn: Turn) -> bool:
    """From the kubelet's start to the last pool's list."""
    arena = turn.plugin.arena
    for _ in range(turn.rounds.lives):
        arena.kubelet.stop()
        turn.plugin.listed_s(0, 0.0, NEVER_S)
        began = monotonic()
        arena.kubelet.start()
        took = turn.plugin.listed_s(turn.size.devices, began, turn.patience_s)
        if not turn.waited("kubelet", took, turn.patience_s):
            return False
    return True


def worker(turn: Turn) -> bool:
    """From SIGKILL of the process that serves the first pool to the last pool's list."""
    took = turn.plugin.killed_s(turn.size.resources[0], turn.size.devices, turn.patience_s)
    return turn.waited("worker", took, turn.patience_s)


def npu(turn: Turn) -> bool:
    """From the first file that goes with an NPU's driver to the message; each time another NPU."""
    arena, last = turn.plugin.arena, turn.size.resources[-1]
    with Injector(arena.pid) as tell:
        for one in scene.npus(turn.size.devices)[-turn.size.each :][: turn.rounds.lives]:
            began = monotonic()
            arena.node.unbind(one.bdf)
            tell(pci("unbind", one.bdf))
            took = turn.plugin.message_s(last, turn.size.each - 1, began, NEVER_S)
            seen = turn.waited("npu-gone", took, NEVER_S)
            arena.node.bind(one.bdf, "rebellions")
            tell(pci("bind", one.bdf))
            back = turn.plugin.listed_s(turn.size.devices, began, BACK_S)
            if not seen or back is None:
                return False
            threading.Event().wait(PAUSE_S)
    return True


GROUPS: Final[Mapping[str, Callable[[Turn], bool]]] = {
    "allocate": allocate,
    "prefer": prefer,
    "memory": memory,
    "idle": idle,
    "kubelet": kubelet,
    "worker": worker,
    "npu": npu,
}
"""In this order; each says whether the plugin is as it was before."""


def _called(turn: Turn, name: str, call: Callable[..., list[float]]) -> bool:
    samples, why = calls.answered(
        call, turn.plugin.arena.kubelet, turn.size.resources[0], turn.rounds.calls
    )
    turn.kept.add(name, "s", samples, why)
    return True
