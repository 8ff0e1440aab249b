"""Faults of a pool that is exported by DRA: the API server goes, refuses, or drops fields."""

import json
from typing import Final

from tests.sim.api_server import ApiRequest, RawAnswer, http_answer
from tests.sim.stack import Stack
from tests.system.dra_scene import DRIVER
from tests.system.dra_stack import DraStack
from tests.system.fault import Fault
from tests.system.scene import VM


def dra(stack: Stack) -> DraStack:
    assert isinstance(stack, DraStack)
    return stack


def without_rights(stack: Stack) -> None:
    """Take the right to make slices away, and delete them."""

    def refuse(request: ApiRequest) -> RawAnswer | None:
        body = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "RBAC: no"}
        refused = RawAnswer(http_answer(403, json.dumps(body).encode()), end="keep")
        return refused if request.verb == "POST" else None

    dra(stack).api.fault = refuse
    dra(stack).wipe_slices()


def without_taints(stack: Stack) -> None:
    """Let the server drop taints, as one before 1.36 does; a device gets one."""
    api = dra(stack).api

    def drop(request: ApiRequest) -> RawAnswer | None:
        if request.verb != "PUT":
            return None
        body = request.object
        for device in body["spec"]["devices"]:
            device.pop("taints", None)
        stored = json.dumps(api.store.update(request.path, body)).encode()
        return RawAnswer(http_answer(200, stored), end="keep")

    api.fault = drop
    stack.node.remove_dev_node("rbln2")


FAULTS: Final = (
    Fault(
        "api-server-unreachable",
        lambda stack: dra(stack).api.stop(),
        "resourceslices",
        "warning",
        DRIVER,
        system=DraStack,
        pools=(VM,),
    ),
    Fault(
        "slices-not-published",
        without_rights,
        "RBAC: no",
        subject=DRIVER,
        system=DraStack,
        pools=(VM,),
    ),
    Fault(
        "slice-fields-dropped",
        without_taints,
        "does not store: taints",
        "note",
        DRIVER,
        system=DraStack,
        pools=(VM,),
    ),
)
