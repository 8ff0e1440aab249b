"""Pools become known to a kubelet, whatever it does meanwhile."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.sim.kubelet import SimKubelet
from tests.sim.kubelet_book import Keeping
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    allocatable,
    config,
    eventually,
    lowest_allocatable,
    pool_status,
    served,
    sight,
    sockets,
    streams,
    untouched,
)

pytestmark = pytest.mark.system

ONE_POOL = config(ATOM_POOL)

WAYS = ["kubelet-sock", "plugin-watcher"]


def watching(folder: Path) -> SimKubelet:
    """A kubelet with a plugin watcher."""
    return SimKubelet(folder, plugin_watcher=True)


def dead_socket(path: Path) -> None:
    """A socket whose server has ended without removing it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen()


# How a pool becomes known


@pytest.mark.parametrize("keeping", list(Keeping), ids=lambda keeping: keeping.name.lower())
@pytest.mark.parametrize("way", WAYS)
def test_any_kubelet_lists_every_pool_once(way: str, keeping: Keeping) -> None:
    with Stack(
        TWO_POOLS,
        registration=way,
        kubelet=lambda folder: SimKubelet(
            folder,
            plugin_watcher=way == "plugin-watcher",
            keeping=keeping,
        ),
    ) as stack:
        status = served(stack)
        stack.kubelet.wait(lambda k: len(k.registrations) >= 2, what="both registrations")
        for name, seen in status.pools.items():
            assert seen.registration == way
            (registration,) = (r for r in stack.kubelet.registrations if r.resource == name)
            assert (registration.path, registration.endpoint) == (way, seen.endpoint)
            assert streams(stack, name) == (seen.endpoint,)
            assert {one.endpoint for one in stack.kubelet.messages(name)} == {seen.endpoint}
            assert stack.kubelet.options(name).get_preferred_allocation_available
            assert not stack.kubelet.options(name).pre_start_required
            stack.kubelet.prestart(name, seen.devices)


@pytest.mark.parametrize("way", WAYS)
def test_a_refused_registration_is_tried_again(way: str) -> None:
    stack = Stack(ONE_POOL, registration=way, kubelet=watching)
    stack.kubelet.knobs.refusal = "not today"
    with stack:
        seen = pool_status(stack, ATOM, lambda seen: "not today" in seen.reason, what="the reason")
        assert (seen.state, seen.registered) == ("starting", False)
        stack.kubelet.wait(lambda k: len(k.registrations) >= 3, what="three attempts")
        stack.kubelet.knobs.refusal = None
        served(stack, ATOM)
        assert sum("not today" in line for line in stack.log.splitlines()) == 1
        endpoints = [r.endpoint for r in stack.kubelet.registrations if way == "kubelet-sock"]
        assert len(set(endpoints)) == len(endpoints)  # whatever was heard of is not used again


def test_a_kubelet_socket_that_refuses_connections_is_waited_for() -> None:
    stack = Stack(TWO_POOLS, late_kubelet=True)
    dead_socket(stack.kubelet.plugins / "kubelet.sock")
    with stack:
        for name in (ATOM, VM):
            seen = pool_status(
                stack, name, lambda seen: "kubelet.sock" in seen.reason, what="a reason"
            )
            assert seen.state == "waiting"
            assert seen.reason == "nobody answers on kubelet.sock: waiting for the kubelet"
        stack.kubelet.start()
        served(stack)
        # A try that was under way while the kubelet came may have reached it, too.
        last = {seen.resource: seen.endpoint for seen in stack.kubelet.registrations}
        assert last == {name: stack.kubelet.resource(name).endpoint for name in (ATOM, VM)}


def test_a_kubelet_socket_that_hangs_up_is_tried_again_and_told_of_once() -> None:
    stack = Stack(ONE_POOL, late_kubelet=True)
    stack.kubelet.plugins.mkdir(parents=True)
    path = stack.kubelet.plugins / "kubelet.sock"
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen()
        with stack:
            for _ in range(6):
                server.accept()[0].close()
            seen = pool_status(stack, ATOM, lambda seen: seen.reason, what="a reason")
            assert seen.state == "waiting"
            assert stack.log.count("nobody answers on kubelet.sock") == 1
            server.close()
            path.unlink()
            stack.kubelet.start()
            served(stack, ATOM)


def test_a_kubelet_socket_that_is_made_twice_within_a_moment() -> None:
    with Stack(TWO_POOLS) as stack:
        before = {name: seen.endpoint for name, seen in served(stack).pools.items()}
        workers = stack.workers()
        stack.kubelet.recreate_socket()
        stack.kubelet.recreate_socket()
        after = stack.wait_status(
            lambda status: all(
                seen.registered and seen.endpoint != before[name]
                for name, seen in status.pools.items()
            ),
            what="fresh registrations",
        )
        eventually(
            lambda: all(  # asked again: the first of the two may have been registered with
                streams(stack, name) == (seen.endpoint,)
                for name, seen in stack.status().pools.items()
            ),
            what="one stream a pool, to the fresh socket",
        )
        for name, seen in after.pools.items():
            allocatable(stack, name, len(seen.devices))
            assert lowest_allocatable(stack.kubelet, name) == len(seen.devices)  # no gap in between
        assert stack.workers() == workers
        eventually(
            lambda: sockets(stack) == {p.endpoint for p in stack.status().pools.values()},
            what="the end of the old sockets",
        )


def test_a_kubelet_that_refuses_what_it_lists_already() -> None:
    """Its socket is new, it takes nobody, and it goes on reading the stream of before."""
    with Stack(ONE_POOL) as stack:
        before = served(stack, ATOM).pools[ATOM].endpoint
        stack.kubelet.knobs.refusal = "not now"
        stack.kubelet.recreate_socket()
        stack.kubelet.wait(lambda k: len(k.registrations) >= 5, what="four refusals")
        assert streams(stack, ATOM) == (before,)
        stack.node.remove_dev_node("rbln0")
        allocatable(stack, ATOM, len(ATOMS) - 1)
        stack.node.add_dev_node("rbln0")
        allocatable(stack, ATOM, len(ATOMS))
        stack.kubelet.knobs.refusal = None
        after = pool_status(stack, ATOM, lambda seen: seen.registered, what="registered again")
        eventually(lambda: streams(stack, ATOM) == (after.endpoint,), what="the new stream alone")
        assert lowest_allocatable(stack.kubelet, ATOM) == len(ATOMS) - 1
        eventually(lambda: sockets(stack) == {after.endpoint}, what="the end of the old sockets")


def test_a_kubelet_that_takes_a_pool_and_never_lists_it() -> None:
    stack = Stack(ONE_POOL)
    stack.kubelet.knobs.dials = False
    with stack:
        stack.kubelet.wait(lambda k: len(k.registrations) >= 2, 20.0, what="another attempt")
        first, second = (r.endpoint for r in stack.kubelet.registrations[:2])
        assert first != second
        reason = pool_status(stack, ATOM, lambda seen: seen.reason, what="a reason").reason
        assert reason == "no ListAndWatch within 5 s of registering"
        stack.kubelet.knobs.dials = True
        served(stack, ATOM, deadline_s=20.0)


# How it stays known


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_that_the_kubelet_ends(way: str) -> None:
    with Stack(TWO_POOLS, registration=way, kubelet=watching) as stack:
        served(stack)
        before = sight(stack, ATOM)
        with untouched(stack, VM):
            stack.kubelet.close_stream(ATOM)
            stack.kubelet.wait(lambda k: k.endings, what="the end of the stream")
            allocatable(stack, ATOM, len(ATOMS), 20.0)
            after = pool_status(stack, ATOM, lambda seen: seen.registered, what="registered again")
        assert after.worker.pid == before.pid
        assert after.endpoint != before.endpoint


@pytest.mark.parametrize("way", WAYS)
def test_a_socket_of_ours_that_somebody_removes(way: str) -> None:
    with Stack(TWO_POOLS, registration=way, kubelet=watching) as stack:
        served(stack)
        before = sight(stack, ATOM)
        assert before.endpoint is not None
        folder = stack.kubelet.plugins if way == "kubelet-sock" else stack.kubelet.registry
        with untouched(stack, VM):
            (folder / before.endpoint).unlink()
            after = pool_status(
                stack,
                ATOM,
                lambda seen: seen.endpoint != before.endpoint and seen.registered,
                what="a fresh socket",
            )
            allocatable(stack, ATOM, len(ATOMS))
        assert after.worker.pid == before.pid
        assert stack.kubelet.resource(ATOM).endpoint == after.endpoint


def test_auto_is_kubelet_sock_also_where_there_is_a_plugin_watcher() -> None:
    with Stack(TWO_POOLS, kubelet=watching) as stack:
        pools = served(stack).pools
        assert {pool.registration for pool in pools.values()} == {"kubelet-sock"}
        assert {one.path for one in stack.kubelet.registrations} == {"kubelet-sock"}
        assert not list(stack.kubelet.registry.iterdir())


def test_auto_is_the_plugin_watcher_where_there_is_no_device_plugins_folder() -> None:
    with Stack(ONE_POOL, late_kubelet=True, kubelet=watching) as stack:
        assert not stack.kubelet.plugins.exists()
        stack.kubelet.registry.mkdir(parents=True)
        seen = pool_status(
            stack,
            ATOM,
            lambda seen: seen.registration == "plugin-watcher" and seen.endpoint,
            what="a socket for the plugin watcher",
        )
        assert (stack.kubelet.registry / str(seen.endpoint)).is_socket()
        stack.kubelet.start()  # makes the other folder
        seen = pool_status(
            stack,
            ATOM,
            lambda seen: seen.registration == "kubelet-sock" and seen.registered,
            what="registered by kubelet.sock",
        )
        allocatable(stack, ATOM, len(ATOMS))
        eventually(lambda: sockets(stack) == {seen.endpoint}, what="one socket")


# Whose sockets are whose


@contextmanager
def listener(path: Path) -> Iterator[None]:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen()
        yield


def test_dead_sockets_of_ours_are_swept_and_others_are_left() -> None:
    # A kubelet would sweep, too.
    stack = Stack(ONE_POOL, registration="plugin-watcher", late_kubelet=True)
    folder = stack.kubelet.registry
    dead = [
        folder / "rebellions.ai_ATOM-0123456789abcdef.sock",
        folder / "rebellions.ai_ATOM.sock",
        stack.kubelet.plugins / "rebellions.ai_ATOM-fedcba9876543210.sock",
    ]
    left = [
        folder / "rebellions.ai_VM-0123456789abcdef.sock",
        folder / "rebellions.ai_ATOM-mine.sock",
        folder / "other.sock",
    ]
    for path in (*dead, *left):
        dead_socket(path)
    plain = folder / "rebellions.ai_ATOM-00000000000000ff.sock"
    plain.write_text("no socket")
    living = folder / "rebellions.ai_ATOM-00000000000000aa.sock"
    with listener(living), stack:
        seen = pool_status(stack, ATOM, lambda seen: seen.endpoint, what="a socket")
        eventually(
            lambda: not any(path.exists() for path in dead), what="the dead sockets are gone"
        )
        assert seen.endpoint is not None
        assert {*sockets(stack)} == {*(path.name for path in left), living.name, seen.endpoint}
        assert plain.read_text() == "no socket"
