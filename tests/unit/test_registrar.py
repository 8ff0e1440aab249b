"""The registrar's own races: what it began earlier ends later than what it began since."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from rbln_worker.contract.messages import Phase
from rbln_worker.contract.pool import PoolName
from rbln_worker.core.allocation.device_allocation import env_names
from rbln_worker.core.counters import Counters
from rbln_worker.core.registration import NO_LISTENER
from rbln_worker.kubelet.prepared import PreparedAnswers
from rbln_worker.registrar import Registrar
from rbln_worker.spec import KubeletDirs

POOL = PoolName("rebellions.ai/ATOM")


def test_a_kubelet_that_goes_and_comes_while_a_socket_opens(short_path: Path) -> None:
    """The older attempt ends after the newer was decided on, and before that has begun."""

    async def story() -> None:
        begun: list[Coroutine[Any, Any, None]] = []
        registrar = Registrar(
            KubeletDirs(
                short_path / "device-plugins", short_path / "watched", short_path, short_path
            ),
            POOL,
            "kubelet-sock",
            lambda: PreparedAnswers(POOL, env_names(POOL)),
            tally=Counters(),
            on_change=lambda: None,
            spawn=begun.append,
        )
        folder, _ = registrar.watched_folders
        folder.mkdir()
        kubelet = folder / "kubelet.sock"
        kubelet.touch()
        registrar.check_dirs()
        kubelet.unlink()
        registrar.check_dirs()
        kubelet.touch()
        registrar.check_dirs()
        older, newer = begun
        await older
        assert len(begun) == 2, "nothing is registered of what is out of date"
        await newer
        assert [path.name for path in folder.iterdir() if path.is_socket()] == [registrar.endpoint]
        _, _, register = begun
        await register
        assert (registrar.phase, registrar.reason) == (Phase.WAITING, NO_LISTENER)
        await registrar.close(10.0)
        assert not any(path.is_socket() for path in folder.iterdir())

    asyncio.run(story())


def test_a_socket_that_opens_while_the_worker_leaves_is_removed(short_path: Path) -> None:
    """SIGTERM between the decision to open and the opening, which doesn't wait in between."""

    async def story() -> None:
        begun: list[Coroutine[Any, Any, None]] = []
        registrar = Registrar(
            KubeletDirs(
                short_path / "device-plugins", short_path / "watched", short_path, short_path
            ),
            POOL,
            "kubelet-sock",
            lambda: PreparedAnswers(POOL, env_names(POOL)),
            tally=Counters(),
            on_change=lambda: None,
            spawn=begun.append,
        )
        folder, _ = registrar.watched_folders
        folder.mkdir()
        (folder / "kubelet.sock").touch()
        registrar.check_dirs()
        await registrar.close(10.0)
        (opening,) = begun
        await opening
        assert not any(path.is_socket() for path in folder.iterdir())

    asyncio.run(story())
