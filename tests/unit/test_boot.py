"""What tells apart workers that were forked with other options."""

from pathlib import Path

import msgspec
import pytest

from rbln_worker.contract.counters import WorkerCounters
from rbln_worker.contract.pool import PoolName
from rbln_worker.spec import DraStart, KubeletDirs, WorkerSpec

BOOT = WorkerSpec(
    pool=PoolName("x.io/a"),
    incarnation="1",
    run_dir=Path("/r"),
    root=Path("/"),
    kubelet_dirs=KubeletDirs(Path("/k/d"), Path("/k/w"), Path("/k/p"), Path("/k/a")),
    registration="auto",
    host_visible=True,
)
OTHER: dict[str, object] = {
    "run_dir": Path("/r2"),
    "root": Path("/host"),
    "kubelet_dirs": KubeletDirs(Path("/k2/d"), Path("/k/w"), Path("/k/p"), Path("/k/a")),
    "registration": "kubelet-sock",
    "host_visible": False,
    "cdi": "both",
    "pre_start": "never",
    "memory_most": 1,
    "log_level": 10,
    "log_format": "json",
    "dra": DraStart("npu.rebellions.ai", "node-1"),
}


def test_pools_and_lives_have_the_same_options() -> None:
    other = msgspec.structs.replace(
        BOOT, pool=PoolName("x.io/b"), incarnation="2", earlier=WorkerCounters(allocated=1)
    )
    assert other.options_digest == BOOT.options_digest
    assert len(BOOT.options_digest) == 16


def test_all_options_are_asked_for() -> None:
    assert {*OTHER, "pool", "incarnation", "earlier", "is_successor"} == set(
        WorkerSpec.__struct_fields__
    )


@pytest.mark.parametrize("name", OTHER)
def test_each_option_counts(name: str) -> None:
    assert (
        msgspec.structs.replace(BOOT, **{name: OTHER[name]}).options_digest != BOOT.options_digest
    )
