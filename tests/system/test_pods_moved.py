"""Nodes whose names have moved: never two pods on one device, and no container on another one."""

import grpc
import pytest

from rbln_supervisor.core.control.protocol import Rescan, RescanReply
from rbln_supervisor.ctl.client import send_request
from tests.sim.kubelet import kubelet_1_37
from tests.sim.kubelet_records import Listed
from tests.sim.rpc import code_of
from tests.sim.stack import Stack
from tests.system.scene import (
    ATOM,
    ATOMS,
    TWO_POOLS,
    VM,
    allocatable,
    details_of,
    eventually,
    pool_status,
    served,
    untouched,
)

pytestmark = pytest.mark.system

A, B, C, D = ATOMS
"""rbln0 to rbln3."""


def reboot(stack: Stack, **names: str) -> Listed:
    """Everything ends; NPUs have other names when it starts; the first list that the kubelet sees.

    The supervisor is there before the kubelet.
    """
    stack.stop()
    stack.kubelet.stop()
    rename(stack, **names)
    before = len(stack.kubelet.messages(ATOM))
    stack.start()
    pool_status(stack, ATOM, lambda seen: seen.devices, what="its worker has its state")
    stack.kubelet.pods_api.initializing = True
    stack.kubelet.start()
    stack.kubelet.wait(lambda k: len(k.messages(ATOM)) > before, what="the first list")
    stack.kubelet.pods_api.initializing = False
    return stack.kubelet.messages(ATOM)[before]


def rename(stack: Stack, **names: str) -> None:
    """Give NPUs other names; ``a`` is the first. An NPU without a name is dead."""
    letters = dict(zip("abcd", ATOMS, strict=True))
    for letter, name in names.items():
        if not name:
            stack.node.remove(letters[letter])
    for letter, name in names.items():
        if name:
            stack.node.rename_rbln(letters[letter], name)
            stack.node.add_dev_node(name)


def health(listed: Listed) -> dict[str, str]:
    return {device: seen.health for device, seen in listed.devices.items()}


def reason(stack: Stack, device: str, text: str) -> None:
    pool_status(
        stack,
        ATOM,
        lambda seen: device in seen.devices and text in seen.devices[device].reason,
        what=f"{device}: {text}",
    )


def is_refused(stack: Stack, pod: str, text: str) -> None:
    """A container of the pod is not started, and its event has these words."""
    eventually(
        lambda: stack.kubelet.options(ATOM).pre_start_required,
        what="the kubelet has to ask before it starts a container",
    )

    def is_refused_so() -> bool:
        with pytest.raises(grpc.RpcError) as refused:
            stack.kubelet.running.start_container(pod)
        assert code_of(refused.value) == "FAILED_PRECONDITION"
        return text in details_of(refused.value)

    # Until the Pods API has answered, only the UID of the pod is known.
    eventually(is_refused_so, what=f"{pod} is refused: {text}")


def test_a_card_that_is_dead_after_a_reboot_moves_the_names_of_those_behind_it() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        bare = stack.kubelet.running.admit("bare", ATOM, [C])
        assert "/dev/rbln2" in bare.nodes
        first = reboot(stack, a="", b="rbln0", c="rbln1", d="rbln2")
        # Neither may the pod be admitted with rbln2, nor anybody else be given it.
        assert health(first) == {B: "Healthy", C: "Unhealthy", D: "Unhealthy"}
        reason(stack, C, "was /dev/rbln2 for pod ml/bare, is /dev/rbln1 now")
        reason(stack, D, f"its node /dev/rbln2 was given to pod ml/bare as device {C}")
        with pytest.raises(grpc.RpcError):
            stack.kubelet.running.admit("thief", ATOM, [D])
        is_refused(stack, "bare", "was /dev/rbln2 for pod ml/bare, is /dev/rbln1 now")
        stack.kubelet.running.delete("bare")
        allocatable(stack, ATOM, 3)
        assert "/dev/rbln2" in stack.kubelet.running.admit("next", ATOM, [D]).nodes


def test_the_held_card_itself_is_dead() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("bare", ATOM, [C])
        first = reboot(stack, c="", d="rbln2")
        assert health(first) == {A: "Healthy", B: "Healthy", C: "Unhealthy", D: "Unhealthy"}
        reason(stack, C, "unplugged")
        reason(stack, D, f"its node /dev/rbln2 was given to pod ml/bare as device {C}")
        is_refused(stack, "bare", "was /dev/rbln2 and is gone: unplugged")


def test_two_cards_that_pods_hold_are_swapped() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("one", ATOM, [A])
        stack.kubelet.running.admit("two", ATOM, [B])
        first = reboot(stack, a="rbln1", b="rbln0")
        assert health(first) == {A: "Unhealthy", B: "Unhealthy", C: "Healthy", D: "Healthy"}
        is_refused(stack, "one", "was /dev/rbln0 for pod ml/one, is /dev/rbln1 now")
        is_refused(stack, "two", "was /dev/rbln1 for pod ml/two, is /dev/rbln0 now")
        stack.kubelet.running.delete("one")
        reason(stack, A, "its node /dev/rbln1 was given to pod ml/two")
        stack.kubelet.running.delete("two")
        allocatable(stack, ATOM, 4)


def test_names_that_move_while_the_plugin_serves() -> None:
    """A reload of the driver; the other pool notices nothing."""
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("one", ATOM, [A])
        assert not stack.kubelet.options(ATOM).pre_start_required
        stack.kubelet.running.start_container("one")
        with untouched(stack, VM):
            rename(stack, a="rbln7")
            assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)
            reason(stack, A, "was /dev/rbln0 for pod ml/one, is /dev/rbln7 now")
            is_refused(stack, "one", "was /dev/rbln0 for pod ml/one, is /dev/rbln7 now")
            stack.kubelet.wait(
                lambda k: k.resource(ATOM).allocatable == 3, what="the others are listed"
            )
            rename(stack, a="rbln0")
            assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)
            allocatable(stack, ATOM, 4)
            stack.kubelet.running.start_container("one")


def test_where_nothing_moves_nothing_is_asked_for() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("one", ATOM, [A, B])
        first = reboot(stack)
        assert set(health(first).values()) == {"Healthy"}
        assert not stack.kubelet.options(ATOM).pre_start_required
        assert "/dev/rbln0" in stack.kubelet.running.start_container("one")


def test_with_cdi_it_is_simply_right() -> None:
    with Stack(TWO_POOLS, arguments=["--use-cdi"], kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("bare", ATOM, [C])
        first = reboot(stack, a="", b="rbln0", c="rbln1", d="rbln2")
        assert health(first) == dict.fromkeys((B, C, D), "Healthy")
        assert stack.kubelet.running.start_container("bare") == ()


def test_a_pod_of_before_cdi_keeps_its_paths() -> None:
    with Stack(TWO_POOLS, kubelet=kubelet_1_37) as stack:
        served(stack)
        stack.kubelet.running.admit("bare", ATOM, [C])
        stack.arguments = (*stack.arguments, "--use-cdi")
        first = reboot(stack, c="rbln3", d="rbln2")
        assert health(first) == {A: "Healthy", B: "Healthy", C: "Unhealthy", D: "Unhealthy"}
        is_refused(stack, "bare", "was /dev/rbln2 for pod ml/bare, is /dev/rbln3 now")


@pytest.mark.parametrize(("choice", "required"), [("always", True), ("never", False)])
def test_who_wants_it_otherwise(choice: str, required: bool) -> None:  # noqa: FBT001
    arguments = ["--pre-start-check", choice]
    with Stack(TWO_POOLS, arguments=arguments, kubelet=kubelet_1_37) as stack:
        served(stack)
        assert stack.kubelet.options(ATOM).pre_start_required is required
        stack.kubelet.running.admit("one", ATOM, [A])
        stack.kubelet.running.start_container("one")
        rename(stack, a="rbln7")
        assert isinstance(send_request(stack.run_dir, Rescan()), RescanReply)
        reason(stack, A, "was /dev/rbln0 for pod ml/one, is /dev/rbln7 now")
        assert stack.kubelet.options(ATOM).pre_start_required is required
