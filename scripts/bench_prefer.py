"""What a preferred allocation costs, for cards of four NPUs; figures, no verdict.

Each pool is asked as it is when all is free and when some of it is used: every size, with each
device as the one that must be included, and with more and more of them. Of larger pools some of
these questions, drawn with a fixed seed. Times are of the process, without gRPC.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from time import process_time
from typing import Final, NamedTuple

from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.pool import PoolSpec, Preferring
from rbln_worker.core.preferred.budget import Budget
from rbln_worker.core.preferred.choose import Preferred, choose_devices
from rbln_worker.core.preferred.topology import PoolTopology, pool_topology

POLICIES: Final[tuple[Preferring, ...]] = ("topology", "packed", "spread")
SHAPES: Final = ((16, 1), (16, 2), (16, 4), (16, 8), (128, 2), (1024, 2), (1024, 8))
"""Cards and NUMA nodes."""
QUESTIONS_MOST: Final = 4096
EACH: Final = 4


class Asked(NamedTuple):
    """A question."""

    available: Sequence[DeviceId]
    must: Sequence[DeviceId]
    size: int


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench-prefer", description=__doc__)
    parser.add_argument("--questions", type=int, default=QUESTIONS_MOST, metavar="MOST")
    most: int = parser.parse_args().questions
    print(
        f"{'devices':>7}{'nodes':>6}  {'policy':9}{'layout':>8}{'p50':>8}{'p99':>8}{'most':>8}  ms"
        f"{'steps':>9}{'simply':>8}"
    )
    for cards, nodes in SHAPES:
        for policy in POLICIES:
            # A large pool takes milliseconds: fewer questions tell as much.
            print(row(cards, nodes, policy, max(200, most * 16 // cards)), flush=True)
    return 0


def row(cards: int, nodes: int, policy: Preferring, questions: int) -> str:
    """A line of the table."""
    devices = tuple(pool(cards, nodes))
    began = process_time()
    known = pool_topology(
        PoolSpec("a.com", "a", "accelerator", allow_cross_numa=True, preferred_allocation=policy),
        devices,
    )
    laid_out = process_time() - began
    took, steps, simply = [], [], 0
    for asked in drawn(known, questions):
        budget = Budget()
        whole = budget.left
        began = process_time()
        chosen = choose_devices(known, asked.available, asked.must, asked.size, budget)
        took.append(process_time() - began)
        steps.append(whole - budget.left)
        simply += isinstance(chosen, Preferred) and chosen.simply
    took.sort()
    times = (laid_out, took[len(took) // 2], took[len(took) * 99 // 100], took[-1])
    return (
        f"{cards * EACH:7}{nodes:6}  {policy:9}{''.join(f'{one * 1e3:8.2f}' for one in times)}    "
        f"{max(steps):9}{simply * 100 / len(took):7.1f}%"
    )


def pool(cards: int, nodes: int) -> Iterator[Device]:
    """Cards with a switch of their own."""
    for card in range(cards):
        for n in range(EACH):
            bdf = Bdf(f"{card:04x}:0{n}:00.0")
            chain = (f"r{card}", f"u{card}", f"d{card}", f"c{card}", f"p{card}.{n}")
            function = PciFunction(
                bdf,
                "1eff",
                "1250",
                0x12,
                "rebellions",
                card * nodes // cards,
                bridges=tuple(map(Bdf, chain)),
            )
            yield Device(DeviceId(bdf), function)


def drawn(known: PoolTopology, most: int) -> Iterator[Asked]:
    """Questions, no more than so many of each kind."""
    draw = random.Random(1)  # noqa: S311 - the same questions each time
    ids = list(known.places)
    numbers = range(len(ids) ** 2)
    for number in draw.sample(numbers, min(most, len(numbers))):
        one, size = divmod(number, len(ids))
        yield Asked(ids, (ids[one],), size + 1)
    for _ in range(most):
        free = draw.sample(ids, draw.randint(1, len(ids)))
        size = draw.randint(1, len(free))
        yield Asked(free, free[: draw.randint(0, size)], size)


if __name__ == "__main__":
    raise SystemExit(main())
