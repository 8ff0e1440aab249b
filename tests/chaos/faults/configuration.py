"""The configuration file, right and wrong, and the reloads that follow."""

import os
import signal
from collections.abc import Callable
from random import Random

import msgspec

from rbln_worker.contract.problem import Code
from tests.chaos import pools
from tests.chaos.fault import Plan, nothing
from tests.chaos.touch import Touch, Touches
from tests.chaos.world import World

# A supervisor that starts reads the file, too; and looks decide when a reload is done.
USES = frozenset({"config", "supervisor", "look"})


def pool_added(world: World, _: Random) -> Plan:
    """A pool is added in front, for devices that another one had; and taken away."""
    extra = {
        **pools.REST[pools.ATOM].config,
        "resourceName": "EXTRA",
        "selectors": {"pciAddresses": [pools.ATOMS[0]]},
    }
    changed = {"resourceList": [extra, *pools.CONFIG["resourceList"]]}
    return _reload(
        world,
        "a pool is added, and takes a device of another",
        msgspec.json.encode(changed),
        {pools.ATOM: Touch.LISTS, "rebellions.ai/EXTRA": Touch.WORKER},
        lambda: world.is_healthy("rebellions.ai/EXTRA", pools.ATOMS[0]),
    )


def pool_removed(world: World, rng: Random) -> Plan:
    """A pool is removed, and comes back."""
    name = rng.choice((pools.NIC, pools.SF, pools.CARD))
    rest = [config for pool, config in pools.CONFIGS.items() if pool != name]

    def gone() -> bool:
        status = world.status()
        return status is not None and name not in status.pools

    return _reload(
        world,
        f"{name} is removed from the configuration",
        msgspec.json.encode({"resourceList": rest}),
        {name: Touch.WORKER},
        gone,
    )


def pool_changed(world: World, rng: Random) -> Plan:
    """What a pool says of its devices changes, and changes back."""
    name = rng.choice((pools.ATOM, pools.VM, pools.NIC))
    changed = [
        {**config, "excludeTopology": True} if pool == name else config
        for pool, config in pools.CONFIGS.items()
    ]

    def seen() -> bool:
        return all(not device.numa for device in world.kubelet.resource(name).devices.values())

    return _reload(
        world,
        f"{name} leaves its topology out",
        msgspec.json.encode({"resourceList": changed}),
        {name: Touch.LISTS},
        seen,
    )


def wrong(world: World, rng: Random) -> Plan:
    """A file that can't be used: all of it is refused, and nothing changes."""
    whole = msgspec.json.encode(pools.CONFIG)
    broken = {**pools.REST[pools.VM].config, "selectors": "all of them"}
    text = rng.choice(
        (
            whole[: len(whole) // 2],
            b"",
            b"{",
            rng.randbytes(500),
            b"[" * 100_000,
            bytes(2 * 1024 * 1024),
            msgspec.json.encode({"resourceList": [*pools.CONFIG["resourceList"], broken]}),
            msgspec.json.encode({"resourceList": [pools.REST[pools.VM].config] * 2}),
            b"a: &a [*a, *a]\n",
        )
    )

    def seen() -> bool:
        status = world.status()
        return status is not None and any(
            problem.code is Code.RELOAD_REFUSED for problem in status.supervisor.problems
        )

    return _reload(world, f"a configuration of {text[:20]!r}…", text, {}, seen)


def no_file(world: World, rng: Random) -> Plan:
    """Something else lies where the file was, or nothing."""
    path = world.stack.config_file
    make: Callable[[], None] = rng.choice((path.mkdir, lambda: os.mkfifo(path), nothing))

    def inject() -> None:
        path.unlink()
        make()
        world.reload()

    def undo() -> None:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        world.stack.write_config(pools.CONFIG)
        world.reload()

    return Plan(what="no configuration file", uses=USES, inject=inject, undo=undo)


def _reload(
    world: World, what: str, text: bytes, touches: Touches, seen: Callable[[], bool]
) -> Plan:
    def put(content: bytes) -> None:
        aside = world.stack.config_file.with_suffix(".new")
        aside.write_bytes(content)
        aside.replace(world.stack.config_file)

    def inject() -> None:
        put(text)
        world.reload()

    def undo() -> None:
        put(msgspec.json.encode(pools.CONFIG))
        world.reload()

    return Plan(
        what=what,
        uses=USES | touches.keys() | {f"worker {pool}" for pool in touches},
        touches=touches,
        inject=inject,
        undo=undo,
        seen=seen,
    )


def hangups(world: World, _: Random) -> Plan:
    """SIGHUP, again and again: reloads of a file that did not change."""
    pid = world.stack.pid

    def inject() -> None:
        for _ in range(50):
            world.kill(pid, signal.SIGHUP)

    return Plan(what="50 times SIGHUP", uses=USES, inject=inject)
