"""Claims of pools that are exported by DRA, as a table of ``rbln-ctl status``."""

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from rbln_supervisor.core.status import PoolStatus
from rbln_supervisor.ctl.rendering import table_for
from rbln_supervisor.ctl.text import plain, time_ago
from rbln_worker.contract.problem import count_text


def claims_table(name: str, pool: PoolStatus, columns: int, now: float) -> Group:
    """Return the prepared claims of a pool; ``now``: seconds since the epoch."""
    table = table_for(columns)
    table.add_column("CLAIM", overflow="fold")
    table.add_column("SINCE", no_wrap=True)
    table.add_column("POD", overflow="fold")
    table.add_column("DEVICES", overflow="fold")
    for claim in pool.claims:
        devices = ", ".join(map(plain, claim.devices))
        table.add_row(
            Text(f"{plain(claim.namespace)}/{plain(claim.name)}"),
            Text(time_ago(claim.since, now)),
            Text(", ".join(map(plain, claim.pods))),
            Text(f"{devices} (adminAccess)" if claim.admin else devices),
        )
    head = Text.assemble(
        (plain(name), "bold"),
        f"  {count_text(len(pool.claims), 'prepared claim')} of {plain(pool.driver)}",
    )
    return Group(head, Padding(table, (0, 0, 0, 2), expand=False))
