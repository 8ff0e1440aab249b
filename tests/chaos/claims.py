"""Pods with claims of the DRA pools, all the time: a small scheduler and a kubelet's pod workers.

A claim is allocated from what the slices advertise, prepared, checked as a container runtime would
use it, kept for a moment, unprepared and deleted. Now and then a second claim gets a device that
the first one has: it has to be refused.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from time import monotonic
from typing import Any, Final, NamedTuple

import grpc

from tests.chaos import pools
from tests.chaos.dra_side import DraSide
from tests.chaos.load import Load
from tests.sim import runtime
from tests.sim.dra_records import Claim, DraAnswer
from tests.sim.rpc import code_of

THREADS: Final = 2
"""Pods of a pool at the same time."""
PAUSE_S: Final = 0.05
MAX_HOLD_S: Final = 0.2
ANSWER_S: Final = 40.0
"""A prepare or unprepare is answered within this time, whatever happens: the kubelet waits 45 s."""
THIEF_EVERY: Final = 8
"""A claim of so many meets a second one with the same device."""
RETRY_S: Final = 0.1


class Failed(Exception):
    """A call had no answer, or a refusal."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"{code}: {details}")
        self.code = code
        self.details = details


class Pod(NamedTuple):
    """A pod's claim and the devices that the scheduler chose."""

    pool: str
    claim: Claim
    devices: tuple[str, ...]


class ClaimLoad:
    """Threads for each DRA pool, from ``with`` to the end of the block."""

    def __init__(self, side: DraSide, load: Load, seed: int) -> None:
        self._side = side
        self._load = load
        self._seed = seed
        self._over = threading.Event()
        self._changed = threading.Condition()
        self._paused = 0
        self._active = 0
        """Pods that exist."""
        self._numbers = itertools.count()
        self._taken: dict[tuple[str, str], str] = {}
        """By pool and device: the UID of the claim that the scheduler gave it to."""
        self._prepared: dict[tuple[str, str], str] = {}
        """… that the driver has prepared it for."""
        self.refusals: Counter[str] = Counter()
        """Second claims that were refused, by pool."""
        self.slowest_s = 0.0
        self._threads = [
            threading.Thread(
                target=self._run, args=(pool, seed), name=f"pods {pool} {n}", daemon=True
            )
            for seed, (pool, n) in enumerate(itertools.product(pools.DRA, range(THREADS)))
        ]

    def __enter__(self) -> "ClaimLoad":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def no_pods(self, deadline_s: float) -> Iterator[None]:
        """Let all pods end, and start no other meanwhile."""
        with self._changed:
            self._paused += 1
            done = self._changed.wait_for(lambda: not self._active, deadline_s)
        try:
            assert done, f"{self._active} pods with claims have not ended within {deadline_s:g} s"
            yield
        finally:
            with self._changed:
                self._paused -= 1
                self._changed.notify_all()

    def start_pod(self, pool: str, rng: Random, *, most: int = 2) -> Pod | None:
        """Create a claim with free devices; None if there is none."""
        with self._changed:
            if self._paused:
                return None
            free = [
                one
                for one in self._side.allocatable(pools.DRA[pool].driver)
                if (pool, one) not in self._taken
            ]
            if not free:
                return None
            chosen = tuple(sorted(rng.sample(free, min(len(free), rng.randint(1, most)))))
            pod = self._create(pool, chosen)
            self._taken |= dict.fromkeys(((pool, one) for one in chosen), pod.claim.uid)
            self._active += 1
            return pod

    def end_pod(self, pod: Pod) -> None:
        """Unprepare a claim until that has worked, and delete it."""
        while self._attempt(pod.pool, lambda: self._unprepare(pod)) is not None:
            if self._over.wait(RETRY_S):
                break
        with self._changed:
            for device in pod.devices:
                self._prepared.pop((pod.pool, device), None)
        self._side.delete_claim(pod.claim)
        with self._changed:
            for device in pod.devices:
                self._taken.pop((pod.pool, device), None)
            self._active -= 1
            self._changed.notify_all()

    def prepare(self, pod: Pod) -> DraAnswer | None:
        """Prepare a pod's claim; None if that failed, which is noted."""
        answers: list[DraAnswer] = []
        failure = self._attempt(pod.pool, lambda: answers.append(self._prepare(pod)))
        return None if failure else answers[0]

    def _run(self, pool: str, number: int) -> None:
        rng = Random(self._seed * 7919 + number)  # noqa: S311
        while not self._over.wait(PAUSE_S * rng.uniform(0.5, 1.5)):
            try:
                if (pod := self.start_pod(pool, rng)) is None:
                    continue
                self._live(pod, rng)
            except BaseException as error:
                self._load.failures.append(f"{pool}: {error!r}")
                raise

    def _live(self, pod: Pod, rng: Random) -> None:
        try:
            answer = self.prepare(pod)
            if answer is not None:
                self._check(pod, answer)
                if not rng.randrange(THIEF_EVERY):
                    self._steal(pod)
                self._over.wait(rng.uniform(0, MAX_HOLD_S))
                again = self.prepare(pod)
                if again is not None and again != answer:
                    self._load.failures.append(
                        f"{pod.pool}: claim {pod.claim.name} was prepared as {answer}, then {again}"
                    )
        finally:
            self.end_pod(pod)

    def _steal(self, pod: Pod) -> None:
        """A second claim gets a device that the first one has."""
        thief = self._create(pod.pool, pod.devices[:1])
        try:
            self._ask(lambda: self._prepare_answer(thief))
        except Failed as refusal:
            if "in use" in refusal.details:
                self.refusals[pod.pool] += 1
        else:
            self._load.failures.append(
                f"{pod.pool}: {pod.devices[0]} was prepared for two claims, {pod.claim.name} and "
                f"{thief.claim.name}"
            )
        while not self._over.is_set():
            try:
                self._ask(lambda: self._unprepare(thief))
                break
            except Failed:
                self._over.wait(RETRY_S)
        self._side.delete_claim(thief.claim)

    def _create(self, pool: str, devices: Sequence[str]) -> Pod:
        name = f"pod-{next(self._numbers)}"
        claim = self._side.create_claim(name, pools.DRA[pool].driver, devices)
        return Pod(pool, claim, tuple(devices))

    def _attempt(self, pool: str, work: Any) -> Failed | None:  # noqa: ANN401
        """Do something with a driver, and note how it went."""
        begun = self._load.begin(pool)
        try:
            self._ask(work)
        except Failed as failure:
            if failure.code != "NOBODY":
                self._load.end(begun, failure.code, failure.details)
            return failure
        self._load.end(begun)
        return None

    def _ask(self, work: Any) -> None:  # noqa: ANN401
        """Raise Failed with a code: NOBODY if no driver is registered."""
        began = monotonic()
        try:
            work()
        except LookupError as error:
            raise Failed("NOBODY", str(error)) from error
        except (grpc.RpcError, ValueError) as error:
            code = code_of(error)
            if code == "DEADLINE_EXCEEDED":
                self._load.failures.append(f"no answer within {ANSWER_S:g} s")
            details = error.details() if isinstance(error, grpc.Call) else error
            raise Failed(code, str(details)[:300]) from error
        finally:
            self.slowest_s = max(self.slowest_s, monotonic() - began)

    def _prepare(self, pod: Pod) -> DraAnswer:
        answer = self._prepare_answer(pod)
        with self._changed:
            for device in pod.devices:
                owner = self._prepared.setdefault((pod.pool, device), pod.claim.uid)
                if owner != pod.claim.uid:
                    self._load.failures.append(f"{device} of {pod.pool} has two owners")
        return answer

    def _prepare_answer(self, pod: Pod) -> DraAnswer:
        answers = self._side.kubelet.dra.prepare(pools.DRA[pod.pool].driver, [pod.claim], ANSWER_S)
        answer = answers[pod.claim.uid]
        if answer.error:
            raise Failed("REFUSED", answer.error)
        return answer

    def _unprepare(self, pod: Pod) -> None:
        errors = self._side.kubelet.dra.unprepare(pools.DRA[pod.pool].driver, [pod.claim], ANSWER_S)
        if error := errors[pod.claim.uid]:
            raise Failed("REFUSED", error)

    def _check(self, pod: Pod, answer: DraAnswer) -> None:
        """A container gets the devices that were allocated, and the node of their group."""
        given = tuple(sorted(device.device for device in answer.devices))
        npus = frozenset(pools.DRA[pod.pool].npus[device] for device in pod.devices)
        (spec,) = (runtime.checked(path) for path in self._side.specs.glob(f"*{pod.claim.uid}*"))
        devices = {f"{spec['kind']}={one['name']}": one for one in spec["devices"]}
        nodes = {
            (node["hostPath"], node["path"])
            for device in answer.devices
            for name in device.cdi
            for node in devices[name]["containerEdits"].get("deviceNodes", ())
        }
        groups = {group for group, members in self._side.rsd.groups.items() if members == npus}
        expected = {(f"/dev/{npu}", f"/dev/{npu}") for npu in npus}
        expected |= {(f"/dev/rsd{group}", "/dev/rsd0") for group in groups}
        if given != pod.devices or len(groups) != 1 or nodes != expected:
            self._load.failures.append(
                f"{pod.pool}: {pod.devices} were allocated, the driver answered {answer}; the "
                f"container has {sorted(nodes)}, the groups are {self._side.rsd.groups}"
            )
