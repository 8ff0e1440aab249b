"""All faults by name."""

from collections.abc import Mapping
from typing import Final

from tests.chaos.fault import Fault
from tests.chaos.faults import workers

DECK: Final[Mapping[str, Fault]] = {
    "worker dies": workers.dies,
    "worker hangs": workers.hangs,
    "worker dies twice": workers.dies_twice,
    "all workers die": workers.all_die,
}
