"""The needs of pools that are exported by DRA: credentials, and the kubelet's folder."""

import os
from collections.abc import Iterable, Iterator

from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.options import Options
from rbln_worker.contract.problem import Code, Problem, make_problem
from rbln_worker.spec import SERVICE_ACCOUNT


def find_obstacles(options: Options, pools: Iterable[PoolConfig]) -> Iterator[Problem]:
    """Yield what pools that are exported by DRA lack on this node; nothing without such pools."""
    names = [pool.spec.name for pool in pools if pool.spec.dra]
    if not names:
        return
    credentials = options.kubeconfig or SERVICE_ACCOUNT / "token"
    if not os.access(credentials, os.R_OK):
        text = (
            "the API server can't be reached without credentials: no claim can be prepared, no "
            "slice published"
        )
        yield make_problem(Code.API_ACCESS_MISSING, text, str(credentials), tuple(names))
    folder = options.kubelet_dirs.plugins_registry
    if not folder.is_dir():
        text = "the kubelet finds DRA drivers by their sockets there"
        hint = "is it mounted? or --plugins-registry-dir"
        yield make_problem(Code.KUBELET_DIR_MISSING, text, str(folder), hint=hint)
