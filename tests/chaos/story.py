"""What is broken when: dealt by a seed, checked after every step."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from time import monotonic, sleep
from typing import Final

import msgspec

from tests.chaos import invariants, journal, pools
from tests.chaos.fault import Fault, Plan, nothing
from tests.chaos.touch import Touch, union
from tests.chaos.world import World
from tests.sim.kubelet_records import in_words

CONVERGE_S: Final = 10.0
"""From the end of the last fault, and of a back-off that was begun before, to rest."""
REMAINS_S: Final = 20.0
"""From the end of the last claim until nothing is left of any, such as groups of a crash."""
SELDOM: Final = 5
"""A step of so many that touch no DRA pool ends all claims, too."""
AT_ONCE: Final = (1,) * 6 + (2,) * 3 + (3,)
"""How many faults a step has."""
ANSWERS: Final = 5
"""Calls that undisturbed pools have to answer while a fault lasts."""
_AGAIN_S: Final = 0.02


class Broken(Exception):
    """An invariant does not hold; the text says which."""

    def __init__(self, what: str, account: str) -> None:
        super().__init__(what)
        self.account = account
        """What everybody saw since the last rest."""


class Tally(msgspec.Struct):
    """What came of a kind of fault."""

    injected: int = 0
    alone: int = 0
    lost: int = 0
    """Calls that failed in steps that had it, as they may."""
    slowest_s: float = 0.0
    """From its undo, or from it where nothing undoes it, to rest; where it was alone."""


class Step(msgspec.Struct, frozen=True):
    """What was done."""

    names: tuple[str, ...]
    what: tuple[str, ...]
    lost: int
    converged_s: float


Deck = Mapping[str, Fault]


def tell(
    world: World, deck: Deck, rng: Random, until: float, steps: int | None = None
) -> Iterator[Step]:
    """Break things until a time (monotonic seconds), or so many times; then count the Events.

    Broken where that has an effect it may not.
    """
    hand: list[str] = []
    told = 0
    while monotonic() < until and told != steps:
        chosen: dict[str, Plan] = {}
        wanted = rng.choice(AT_ONCE)
        tries = 0
        while len(chosen) < wanted and tries < 2 * wanted + 2:
            tries += 1
            if not hand:
                hand = rng.sample(sorted(deck), len(deck))
            name = hand.pop()
            plan = deck[name](world, rng)
            if plan is None:
                continue
            if name in chosen or any(plan.uses & other.uses for other in chosen.values()):
                hand.insert(0, name)
            else:
                chosen[name] = plan
        if chosen:
            yield _step(world, chosen, rng)
            told += 1
    before = invariants.sight(world)
    try:
        _require_none(world.agent.settle(world.wait))
    except Exception as error:
        raise Broken(f"at the end: {error}", account(world, before)) from error


def _step(world: World, chosen: Mapping[str, Plan], rng: Random) -> Step:
    plans = tuple(chosen.values())
    words = ", ".join(plan.what for plan in plans)
    before = invariants.sight(world)
    try:
        return _break(world, chosen, rng, before)
    except Exception as error:
        what = f"{error}" if isinstance(error, AssertionError) else f"{error!r}"
        raise Broken(f"{words}: {what}", account(world, before)) from error


def _break(world: World, chosen: Mapping[str, Plan], rng: Random, before: invariants.Sight) -> Step:
    plans = tuple(chosen.values())
    touches = union(plan.touches for plan in plans)
    world.load.touch(touches)
    began = monotonic()
    injected: list[Plan] = []
    try:
        for plan in plans:
            plan.inject()
            injected.append(plan)
        if len(plans) == 1 and plans[0].seen is not None:
            world.wait(plans[0].seen, "its effect", plans[0].seen_s)
        calm = [pool for pool in pools.NAMES if touches.get(pool, Touch.NOTHING) is Touch.NOTHING]
        silent = world.load.wait_answers(calm, ANSWERS, CONVERGE_S)
        assert not silent, f"{silent} answer no more"
    finally:
        undone = [p for p in rng.sample(injected, len(injected)) if p.undo is not nothing]
        for plan in undone:
            plan.undo()
    if undone:
        began = monotonic()
    patience_s = max(plan.rest_s for plan in plans)
    while True:
        converge(world, before.files, patience_s)
        took_s = monotonic() - began
        # What was done a moment ago may not have begun to show: calls would break off.
        silent = world.load.wait_answers(pools.NAMES, 1, CONVERGE_S)
        if silent and invariants.backoff_s(world) > 0:  # a hang that showed only now
            continue
        assert not silent, f"{silent} answer no calls"
        if not invariants.unsettled(world, before.files):
            break
    world.load.rest()
    if touches.keys() & pools.DRA.keys() or not rng.randrange(SELDOM):
        nothing_remains(world)
    _require_none(invariants.broken(world, before, touches))
    sure = all(plan.is_sure for plan in plans)
    _require_none(world.agent.take_step(world.records[before.records :], touches, sure=sure))
    if world.agent.is_behind or any("agent" in plan.uses for plan in plans):
        _require_none(world.agent.settle(world.wait))
    return Step(
        names=tuple(chosen),
        what=tuple(plan.what for plan in plans),
        lost=len(world.load.losses) - before.losses,
        converged_s=took_s,
    )


def _require_none(wrong: Iterable[str]) -> None:
    """Raise AssertionError with everything that is wrong."""
    assert not (lines := list(wrong)), "\n".join(("", *lines))


def converge(world: World, files: frozenset[str] | None, patience_s: float = CONVERGE_S) -> None:
    """Wait until the world is at rest, and these files are what lies there."""
    began = monotonic()
    while why := invariants.unsettled(world, files):
        waited = monotonic() - began
        if (left_s := invariants.backoff_s(world)) > 0:
            patience_s = max(patience_s, waited + left_s + CONVERGE_S)
        assert waited < patience_s, f"not at rest {patience_s:.0f} s later: {why}"
        sleep(_AGAIN_S)


def nothing_remains(world: World) -> None:
    """Let all pods with claims end, and wait until nothing is left of the claims."""
    with world.claims.no_pods(CONVERGE_S):
        began = monotonic()
        while left := list(world.dra.remains()):
            waited = monotonic() - began
            assert waited < REMAINS_S, f"{waited:.0f} s after the last claim: {left}"
            sleep(_AGAIN_S)


def account(world: World, since: invariants.Sight) -> str:
    """What everybody saw since then."""
    status = world.status()
    lines = journal.since(world.stack.log_file, since.log)
    return "\n".join(
        (
            in_words(world.records[since.records :], since.at),
            msgspec.json.format(msgspec.json.encode(status)).decode(),
            *(line for line in lines if '"message": "allocated"' not in line),
        )
    )


def count(steps: Iterable[Step], told: Callable[[Step], None], tallies: dict[str, Tally]) -> None:
    """Into tallies by kind; ``told`` hears of each step."""
    for step in steps:
        told(step)
        for name in step.names:
            tally = tallies.setdefault(name, Tally())
            tally.injected += 1
            tally.lost += step.lost
            if len(step.names) == 1:
                tally.alone += 1
                tally.slowest_s = max(tally.slowest_s, step.converged_s)
