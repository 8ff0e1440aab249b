"""The command: scripts/chaos --minutes N [--seed S] [--only FAULT,…] [--record PAGE]."""

import argparse
import gc
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final

import msgspec
from rich.console import Console

from tests.chaos import growth, measure, page, pools, story
from tests.chaos.deck import DECK
from tests.chaos.report import Memory, Report, centiles, show
from tests.chaos.world import World

QUIET_S: Final = 2.0
"""How long nothing is broken, for the figures to compare with."""
PATIENT_S: Final = 60.0
"""A run that is as long also waits for deadlines of many seconds."""
_INSIDE: Final = "RBLN_CHAOS_INSIDE"


def main(argv: Sequence[str]) -> int:
    """Break things; 0 where nothing came of it that may not."""
    arguments = _parser().parse_args(argv)
    if arguments.list:
        print("\n".join(sorted(DECK)))
        return 0
    namespace = os.environ.get(_INSIDE) == "1"
    if not namespace:
        _go_inside(argv)
    deck = {name: DECK[name] for name in arguments.only or DECK}
    seed: int = arguments.seed if arguments.seed is not None else secrets.randbelow(1_000_000)
    print(f"seed {seed} (again: --seed {seed})", flush=True)
    report = run(seed, arguments.minutes * 60, deck, arguments.steps, namespace=namespace)
    show(report, Console(width=None if sys.stdout.isatty() else 110))
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if report.broken:
        return 1
    if arguments.record:
        page.write_tables(arguments.record, report)
    return 0


def run(
    seed: int, seconds: float, deck: story.Deck, steps: int | None, *, namespace: bool
) -> Report:
    """One run of a world of its own."""
    rng = Random(seed)  # noqa: S311
    registration = rng.choice(("kubelet-sock", "plugin-watcher"))
    broken = ""
    tallies: dict[str, story.Tally] = {}
    began = monotonic()

    samples: list[growth.Sample] = []

    def told(step: story.Step) -> None:
        at = monotonic() - began
        if not samples or at - samples[-1].at >= growth.EVERY_S:
            samples.append(growth.Sample(at, _memory(world)))
        print(
            f"{monotonic() - began:7.1f} s  {'; '.join(step.what)}"
            f"  (at rest after {step.converged_s:.2f} s, {step.lost} calls failed)",
            flush=True,
        )

    gc.freeze()
    world = World(
        seed,
        namespace=namespace,
        patient=seconds >= PATIENT_S,
        registration=registration,
        cdi=rng.random() < 0.5,
    )
    print(f"registration {registration}, CDI {world.cdi}, namespace {namespace}", flush=True)
    with world:
        story.converge(world, None)
        world.load.rest()
        world.load.wait_answers(pools.NAMES, int(QUIET_S * 30), 60.0)
        start = _memory(world)
        try:
            story_so_far = story.tell(world, deck, rng, monotonic() + seconds, steps)
            story.count(story_so_far, told, tallies)
        except story.Broken as error:
            broken = str(error)
            print(error.account, file=sys.stderr)
        end = _memory(world)
        broken = broken or growth.grows(samples, monotonic() - began)
    return Report(
        seed=seed,
        seconds=monotonic() - began,
        faults=tallies,
        calls=world.load.calls,
        lost=len(world.load.losses),
        quiet_us=centiles(world.load.quiet),
        faulty_us=centiles(world.load.faulty),
        start=start,
        end=end,
        slowest_status_ms=world.pulse.slowest_s * 1000,
        claim_calls=sum(world.load.answered[pool] for pool in pools.DRA),
        slowest_claim_s=world.claims.slowest_s,
        refused_claims=sum(world.claims.refusals.values()),
        changes=world.agent.changes,
        agents=world.agent.starts,
        most_waiting=world.agent.most_waiting,
        broken=broken,
    )


def _memory(world: World) -> Memory:
    return measure.memory((*world.stack.processes(), world.agent.pid))


def _go_inside(argv: Sequence[str]) -> None:
    """Begin again in namespaces of our own; comes back where that can't be."""
    # Links and uevents need a network namespace, read-only and full file systems one of mounts.
    own = ["unshare", "--net", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        own.insert(1, "--map-root-user")
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode == 0:
        command = [*own, sys.executable, "-m", "tests.chaos", *argv]
        os.execvpe("unshare", command, {**os.environ, _INSIDE: "1"})  # noqa: S606


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--steps", type=int, help="so many, if there is time for them")
    parser.add_argument("--seed", type=int, help="replays a run; without it one is drawn")
    parser.add_argument("--only", type=_names, help="these faults, with commas between them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the table as JSON, too")
    parser.add_argument(
        "--record", type=Path, metavar="PAGE", help="write the tables into docs/measured/chaos.md"
    )
    parser.add_argument("--list", action="store_true", help="the names of the faults")
    return parser


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in DECK:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(sorted(DECK))}")
    return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
