"""After a refused file a restart serves on with the last accepted configuration."""

import json
import os
import stat
from pathlib import Path

import pytest

from rbln_supervisor.config.accepted import FILE, load_config
from rbln_supervisor.core.control.protocol import ErrorReply, Reload, ReloadReply
from rbln_supervisor.ctl.client import send_request
from rbln_supervisor.entrypoint import main as entrypoint
from rbln_supervisor.options import Options
from rbln_worker.contract.exits import Exit
from rbln_worker.contract.problem import Code
from tests.sim.stack import Stack
from tests.system.scene import ATOM, ATOM_POOL, TWO_POOLS, VM, VM_POOL, config, pool, served

pytestmark = pytest.mark.system

NEW = "rebellions.ai/NEW"
ONE_WRONG = config(ATOM_POOL, VM_POOL, {"resourceName": "bad name", "selectors": {}})
"""A pool of it is invalid: a reload refuses the file, a first start serves the others."""


def restart(stack: Stack) -> None:
    stack.stop()
    stack.start()


@pytest.mark.parametrize("broken", ["{", ONE_WRONG, ""])
def test_a_restart_after_a_refused_reload(broken: object) -> None:
    with Stack(TWO_POOLS, watch_config=True) as stack:
        served(stack)
        stack.write_config(broken)
        assert isinstance(send_request(stack.run_dir, Reload()), ErrorReply)
        restart(stack)
        served(stack, ATOM, VM)
        status = stack.status()
        assert set(status.pools) == {ATOM, VM}
        problems = status.supervisor.problems
        assert {one.code for one in problems} == {Code.RELOAD_REFUSED}
        assert "the last accepted configuration (of 20" in problems[-1].text
        assert "the last accepted configuration" in stack.log
        found = json.loads(stack.ctl("doctor", "--json").stdout)
        assert any(one["code"] == "reload-refused" for one in found["problems"])
        # A right one is taken as soon as it comes.
        stack.write_config(config(ATOM_POOL, VM_POOL, pool("NEW", pciAddresses=["0000:99:00.0"])))
        stack.wait_status(lambda status: NEW in status.pools, what="the right file")
        stack.wait_status(lambda status: not status.supervisor.problems, what="no problem")
        restart(stack)
        served(stack, ATOM, VM)
        assert NEW in stack.status().pools


def test_a_file_that_is_missing_at_a_restart() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.stop()
        stack.config_file.unlink()
        stack.start()
        served(stack, ATOM, VM)
        stack.write_config(TWO_POOLS)
        assert isinstance(send_request(stack.run_dir, Reload()), ReloadReply)
        assert not stack.status().supervisor.problems


def test_a_killed_supervisor_adopts_its_workers_with_it() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        workers = stack.workers()
        stack.write_config("{")
        stack.kill()
        stack.start()
        served(stack)
        assert stack.workers() == workers


def record(stack: Stack) -> Path:
    return stack.run_dir / FILE


def another_node(raw: bytes) -> bytes:
    return json.dumps({**json.loads(raw), "node": "another"}).encode()


def newer(raw: bytes) -> bytes:
    return json.dumps({**json.loads(raw), "format": 2}).encode()


def of_no_time(raw: bytes) -> bytes:
    return json.dumps({**json.loads(raw), "at": 1e300}).encode()


def not_accepted(raw: bytes) -> bytes:
    return json.dumps({**json.loads(raw), "raw": "e30="}).encode()


@pytest.mark.parametrize(
    "harm",
    [
        another_node,
        newer,
        of_no_time,
        not_accepted,
        lambda _: b"",
        lambda raw: raw[:-10],
        lambda _: b"[" * 100_000,
        lambda _: b"\xff",
    ],
)
def test_a_record_that_is_none_of_ours_counts_for_nothing(harm: object) -> None:
    """A start ends with the file's error, as without one; the container's entrypoint likewise."""
    assert callable(harm)
    with Stack(TWO_POOLS) as stack:
        served(stack)
        assert stat.S_IMODE(record(stack).stat().st_mode) == 0o600
        stack.stop()
        stack.write_config("{")
        record(stack).write_bytes(harm(record(stack).read_bytes()))
        stack.start()
        assert stack.wait_exit() == Exit.UNUSABLE
        assert f"rbln-supervisor: {stack.config_file}: line 1" in stack.log
        given = (f"--config-file={stack.config_file}", f"--run-dir={stack.run_dir}")
        assert entrypoint(given) == Exit.UNUSABLE


def test_the_record_is_no_link_that_somebody_left() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        stack.stop()
        record(stack).unlink()
        record(stack).symlink_to(stack.config_file)
        stack.write_config("{")
        stack.start()
        assert stack.wait_exit() == Exit.UNUSABLE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another user")
def test_a_record_of_another_user_counts_for_nothing() -> None:
    with Stack(TWO_POOLS) as stack:
        served(stack)
        options = Options(
            config_file=stack.config_file, resource_prefix="intel.com", run_dir=stack.run_dir
        )
        kept = load_config(options)
        assert kept is not None
        os.chown(record(stack), 65534, 65534)
        assert load_config(options) is None
        os.chown(record(stack), 0, 0)
        assert load_config(options) == kept
