"""Kubelets before 1.37 can end a newer instance's endpoint along with an older one's."""

import pytest

from tests.sim.kubelet import WATCHER_TURN_S, kubelet_1_34
from tests.sim.stack import Stack
from tests.sim.tinyplugin import TinyPlugin
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    allocatable,
    config,
    eventually,
    pool_status,
    served,
    sockets,
    streams,
)

pytestmark = pytest.mark.system


def test_found_by_the_watcher_it_is_back_after_a_turn_and_stays() -> None:
    stack = Stack(
        config(ATOM_POOL), registration="plugin-watcher", kubelet=kubelet_1_34, late_kubelet=True
    )
    stack.kubelet.start()
    with TinyPlugin(stack.kubelet.registry, ATOM, {"old": None}, endpoint="old.sock") as old:
        stack.kubelet.wait_listed(ATOM, 1)
        with stack:
            served(stack, ATOM)
            eventually(lambda: len(streams(stack, ATOM)) == 2, what="streams to both")
            first = pool_status(stack, ATOM, lambda seen: seen.registered, what="it is listed")
            endings = len(stack.kubelet.endings)
            old.close()
            stack.kubelet.wait(lambda k: len(k.endings) == endings + 2, what="the end of both")
            second = pool_status(
                stack,
                ATOM,
                lambda seen: seen.registered and seen.endpoint != first.endpoint,
                what="a fresh registration",
            )
            allocatable(stack, ATOM, len(ATOMS))
            back = stack.kubelet.messages(ATOM)[-1].at - stack.kubelet.endings[-1].at
            assert back < WATCHER_TURN_S + 0.5
            eventually(lambda: sockets(stack) == {second.endpoint}, what="one socket")
            # Whatever the end of our own first socket does, it does in the turn before this one.
            with TinyPlugin(stack.kubelet.registry, "example.com/later", {"a": None}):
                stack.kubelet.wait_listed("example.com/later", 1)
            assert len([e for e in stack.kubelet.endings if e.resource == ATOM]) == endings + 2
            assert stack.status().pools[ATOM].endpoint == second.endpoint


def test_by_register_it_is_back_at_once() -> None:
    stack = Stack(
        config(ATOM_POOL), registration="kubelet-sock", kubelet=kubelet_1_34, late_kubelet=True
    )
    stack.kubelet.start()
    with TinyPlugin(stack.kubelet.plugins, ATOM, {"old": None}, endpoint="old.sock") as old:
        old.register(stack.kubelet.socket)
        stack.kubelet.wait_listed(ATOM, 1)
        with stack:
            served(stack, ATOM)
            old.close()
            stack.kubelet.wait(lambda k: k.endings, what="the end of the old one")
            eventually(
                lambda: streams(stack, ATOM) == (stack.status().pools[ATOM].endpoint,),
                what="one stream, to the socket that is served",
            )
            allocatable(stack, ATOM, len(ATOMS))
