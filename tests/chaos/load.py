"""Calls to every pool, all the time, and how each of them went."""

import re
import threading
from array import array
from collections import Counter
from collections.abc import Iterable
from random import Random
from time import monotonic
from typing import Final, NamedTuple

import grpc

from rbln_worker.kubelet.api import deviceplugin_pb2 as pb
from tests.chaos.touch import Touch, Touches
from tests.sim.kubelet import SimKubelet
from tests.sim.rpc import code_of

PAUSE_S: Final = 0.02
"""Between two calls to a pool: some 40 a second, so that six pools leave a core for the faults."""
PREFERRED_EVERY: Final = 10
NPU_NODE: Final = re.compile(r"/dev/rbln\d+")
"""Other nodes may be shared by several devices."""
REFUSALS: Final = frozenset({"FAILED_PRECONDITION", "INVALID_ARGUMENT", "REFUSED"})
"""A worker's answer, where the kubelet has not read its last message yet; REFUSED: of a claim."""


class Loss(NamedTuple):
    """A call that failed."""

    at: float
    pool: str
    code: str
    details: str
    touch: Touch
    """What was allowed to happen to the pool meanwhile."""


class Begun(NamedTuple):
    """A call that has begun."""

    pool: str
    at: float
    touch: Touch
    epoch: int
    busy: bool
    """Something was broken."""


class Load:
    """One thread a pool, from ``with`` to the end of the block."""

    def __init__(self, kubelet: SimKubelet, pools: Iterable[str], seed: int) -> None:
        self._kubelet = kubelet
        self._pools = tuple(pools)
        self._seed = seed
        self._over = threading.Event()
        self._changed = threading.Condition()
        self._touch: dict[str, Touch] = {}
        self._epoch: Counter[str] = Counter()
        """How often a pool was touched, so that a call that saw it come and go is told apart."""
        self._worst: dict[str, Touch] = {}
        self._busy = False
        self.answered: Counter[str] = Counter()
        """By pool."""
        self.quiet = array("d")
        """Seconds of calls while nothing was broken."""
        self.faulty = array("d")
        """… of calls to pools that were not touched while others were."""
        self.losses: list[Loss] = []
        self._held: dict[str, tuple[str, frozenset[str]]] = {}
        """By pool: the device that a pod holds, and the nodes that are its own."""
        self.failures: list[str] = []
        """What went wrong in a thread of ours."""
        self._threads = [
            threading.Thread(target=self._run, args=(pool, n), name=f"load {pool}", daemon=True)
            for n, pool in enumerate(self._pools)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def calls(self) -> int:
        """All of them."""
        with self._changed:
            return sum(self.answered.values()) + len(self.losses)

    def touch(self, touches: Touches) -> None:
        """From now on this may happen, too."""
        with self._changed:
            self._busy = True
            for pool, touch in touches.items():
                self._touch[pool] = max(touch, self._touch.get(pool, Touch.NOTHING))
                self._worst[pool] = self._touch[pool]
                self._epoch[pool] += 1

    def hold(self, pool: str, device: str, nodes: Iterable[str]) -> None:
        """From now on a pod holds a device: no call asks for it, and no answer has its nodes."""
        own = frozenset(node for node in nodes if NPU_NODE.fullmatch(node))
        with self._changed:
            self._held[pool] = device, own

    def release(self, pool: str) -> None:
        """The pod has ended."""
        with self._changed:
            self._held.pop(pool, None)

    def begin(self, pool: str) -> Begun:
        """A call to a pool begins."""
        with self._changed:
            return Begun(pool, monotonic(), self._now(pool), self._epoch[pool], self._busy)

    def end(self, begun: Begun, code: str = "", details: str = "") -> None:
        """It has ended, with a code if it failed."""
        pool = begun.pool
        took_s = monotonic() - begun.at
        with self._changed:
            touch = max(begun.touch, self._now(pool))
            if self._epoch[pool] != begun.epoch:
                touch = max(touch, self._worst[pool])
            if code:
                self.losses.append(Loss(monotonic(), pool, code, details, touch))
            else:
                self.answered[pool] += 1
                if pool not in self._pools:
                    pass  # the times of Allocate are compared with each other only
                elif not begun.busy and not self._busy:
                    self.quiet.append(took_s)
                elif touch is Touch.NOTHING:
                    self.faulty.append(took_s)
            self._changed.notify_all()

    def rest(self) -> None:
        """From now on nothing may happen."""
        with self._changed:
            self._busy = False
            self._touch.clear()

    def wait_answers(self, pools: Iterable[str], more: int, deadline_s: float) -> tuple[str, ...]:
        """Until each of these pools answered so many calls more; those that did not.

        One is enough from a DRA pool, whose calls run a program.
        """
        with self._changed:
            wanted = {
                pool: self.answered[pool] + (more if pool in self._pools else 1) for pool in pools
            }

            def missing() -> tuple[str, ...]:
                return tuple(pool for pool, n in wanted.items() if self.answered[pool] < n)

            self._changed.wait_for(lambda: not missing(), deadline_s)
            return missing()

    def _run(self, pool: str, number: int) -> None:
        rng = Random(self._seed * 1000 + number)  # noqa: S311
        count = 0
        while not self._over.wait(PAUSE_S * rng.uniform(0.5, 1.5)):
            seen = self._kubelet.resource(pool)
            healthy = sorted(d for d, device in seen.devices.items() if device.health == "Healthy")
            if seen.endpoint is None or not healthy:
                continue  # nobody is asked, as with a real kubelet
            count += 1
            with self._changed:
                held, nodes = self._held.get(pool, ("", frozenset()))
                free = [device for device in healthy if device != held]
                if not free:
                    continue
                begun = self.begin(pool)
            code = details = ""
            try:
                if count % PREFERRED_EVERY:
                    self._check(pool, nodes, self._kubelet.allocate(pool, [[rng.choice(free)]]))
                else:
                    self._kubelet.preferred(pool, free, [], 1)
            except grpc.RpcError as error:
                code, details = _why(error)
            except (AssertionError, ValueError):
                code = "NOBODY"  # its connection went between our look and the call
            except BaseException as error:
                self.failures.append(f"{pool}: {error!r}")
                raise
            self.end(begun, code, details)

    def _check(self, pool: str, held: frozenset[str], answer: pb.AllocateResponse) -> None:
        """An answer has no node that a pod holds."""
        given = {node.host_path for one in answer.container_responses for node in one.devices}
        if given & held:
            self.failures.append(f"{pool}: {sorted(given & held)} given to a second container")

    def _now(self, pool: str) -> Touch:
        return self._touch.get(pool, Touch.NOTHING)


def forbidden(loss: Loss) -> bool:
    """Whether a call may not have failed, or not so."""
    if loss.touch is Touch.NOTHING:
        return True
    return loss.touch is Touch.LISTS and loss.code not in REFUSALS


def _why(error: BaseException) -> tuple[str, str]:
    details = error.details() if isinstance(error, grpc.Call) else error
    return code_of(error), str(details)[:200]
