"""A recorded case against the whole system: all that differs, one line each."""

from collections.abc import Iterator
from contextlib import suppress
from enum import Enum, auto
from typing import Final

import grpc

from tests.sim import judge
from tests.sim.conformance import Case, Pool, Preference
from tests.sim.rpc import code_of
from tests.sim.stack import Stack

LISTED_DEADLINE_S: Final = 10.0


class Preferences(Enum):
    """How much is asked of GetPreferredAllocation."""

    JUDGED = auto()
    MAY_BE_EMPTY = auto()
    """An empty answer is legal whatever was expected, an error is not."""


def examine(case: Case, preferences: Preferences) -> None:
    """Start the system on the case's node, ask all that the case answers; AssertionError."""
    links = case.node.links or None
    with Stack(case.config, case.node.build, arguments=case.args, links=links) as stack:
        # A time-out is no end: what differs is told in detail below.
        with suppress(AssertionError):
            stack.kubelet.wait(
                lambda k: (
                    {name: resource.devices for name, resource in k.resources.items()}
                    == {name: pool.devices for name, pool in case.expected.pools.items()}
                ),
                LISTED_DEADLINE_S,
                what="the expected pools",
            )
        stack.wait_status(lambda status: status.supervisor.ready, what="a ready supervisor")
        differences = [
            *(
                f"{name}: {difference}"
                for name, pool in case.expected.pools.items()
                for difference in _pool(stack, case, name, pool, preferences)
            ),
            # Looked at last: by now, what is not expected has had its time to come.
            *(
                f"{name}: registered, and not expected"
                for name in sorted(stack.kubelet.resources.keys() - case.expected.pools.keys())
            ),
        ]
        assert not differences, "\n".join([f"{case.name}:", *differences])


def _pool(
    stack: Stack, case: Case, name: str, expected: Pool, preferences: Preferences
) -> Iterator[str]:
    kubelet = stack.kubelet
    if name not in kubelet.resources:
        yield "not registered"
        return
    yield from judge.devices(expected.devices, kubelet.resource(name).devices)
    yield from judge.options(expected.options, kubelet.options(name))
    for grant in expected.allocate:
        try:
            reply = kubelet.allocate(name, [grant.ids])
        except grpc.RpcError as error:
            yield f"Allocate of {', '.join(grant.ids)}: {error}"
        else:
            yield from judge.grant(grant, reply.container_responses[0])
    for preference in expected.preferred:
        yield from _preference(stack, case, name, expected, preference, preferences)


def _preference(
    stack: Stack,
    case: Case,
    name: str,
    pool: Pool,
    expected: Preference,
    preferences: Preferences,
) -> Iterator[str]:
    asked = f"preferred {expected.size}"
    offered = judge.offered(expected, pool.devices)
    try:
        actual = stack.kubelet.preferred(name, offered, expected.must, expected.size)
    except grpc.RpcError as error:
        if expected.error is None:
            yield f"{asked}: {code_of(error)}, expected {list(expected.ids)}"
        return
    if preferences is Preferences.MAY_BE_EMPTY and not actual:
        return
    if expected.error is not None:
        yield f"{asked}: {actual}, expected an error"
        return
    node = {device.bdf: device for device in case.node.devices}
    yield from judge.preference(expected, actual, pool=pool.devices, node=node)
