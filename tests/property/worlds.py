"""Nodes and pools for stories about rosters and inventories."""

from hypothesis import strategies as st

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.config.selectors import SelectorObject
from rbln_supervisor.core.workers.desired_state import DesiredState, reconcile
from rbln_worker.contract.device import Bdf, Device, DeviceId, PciFunction
from rbln_worker.contract.inventory import NodeInventory
from rbln_worker.contract.pool import PoolSpec

GRACE_S = 10.0

FUNCTION = st.builds(
    PciFunction,
    bdf=st.sampled_from([Bdf(f"0000:0{bus}:00.0") for bus in range(5)]),
    vendor=st.just("1eff"),
    product=st.sampled_from(["1120", "1121"]),
    base_class=st.just(0x12),
    driver=st.sampled_from(["rebellions", "vfio-pci", None]),
    numa_node=st.sampled_from([None, 0]),
    has_vfs=st.booleans(),
)
FUNCTIONS = st.lists(FUNCTION, unique_by=lambda function: function.bdf, max_size=5)
POOL = st.builds(
    PoolSpec,
    prefix=st.just("rebellions.ai"),
    resource=st.just("ATOM"),
    device_type=st.just("accelerator"),
    exclude_topology=st.sampled_from([False, False, False, True]),
)
LOOK = st.tuples(
    POOL, FUNCTIONS, st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)), st.floats(0, 8)
)
"""A pool, the node's functions, which of them this pool wants, which others have, seconds since."""

Look = tuple[PoolSpec, list[PciFunction], set[int], set[int], float]


def look_at(before: DesiredState, look: Look, now: float) -> DesiredState:
    """The roster after a look."""
    pool, functions, wanted, taken, _ = look
    present = {
        DeviceId(function.bdf): Device(DeviceId(function.bdf), function)
        for function in functions
        if function.driver and not function.has_vfs and _bus(function) in wanted - taken
    }
    others = {DeviceId(f.bdf) for f in functions if _bus(f) in taken}
    configured = PoolConfig(pool, (SelectorObject(),))
    node = NodeInventory({function.bdf: function for function in functions}, {})
    return reconcile(before, configured, present, others, node, now=now, grace_s=GRACE_S)


def present_in(look: Look) -> set[str]:
    """The devices that the pool should have, and that are well."""
    _, functions, wanted, taken, _ = look
    return {
        function.bdf
        for function in functions
        if function.driver and not function.has_vfs and _bus(function) in wanted - taken
    }


def taken_in(look: Look) -> set[str]:
    """The devices that another pool has."""
    _, functions, _, taken, _ = look
    return {function.bdf for function in functions if _bus(function) in taken}


def _bus(function: PciFunction) -> int:
    return int(function.bdf[5:7])
