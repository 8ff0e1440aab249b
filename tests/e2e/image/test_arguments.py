"""What the container is given: the reference's arguments, odd ones, and wrong ones."""

import signal
from collections.abc import Sequence
from time import monotonic

import msgspec
import pytest

from rbln_worker.contract.exits import Exit
from tests.e2e.image.container import STRICT, Container
from tests.e2e.image.engine import Engine
from tests.e2e.report import Report
from tests.system.scene import (
    ATOM,
    ATOM_POOL,
    ATOMS,
    TWO_POOLS,
    VM,
    VM_POOL,
    config,
    eventually,
    pool,
    untouched,
)

ODD = 'it\'s %(here)s; #1 "$HOME" \\ \n*.json'


def real_places(container: Container) -> Sequence[str]:
    """The node where a pod has it: at the root.

    There a node in /dev has to be a character device (rbln_worker/host/nodes.py): each is one.
    """
    dev = container.root / "dev"
    nodes = sorted(path.relative_to(dev) for path in dev.rglob("*") if path.is_file())
    return [
        word
        for source, place in (
            (container.root / "sys", "/sys"),
            *(("/dev/null", f"/dev/{node}") for node in nodes),
            (container.kubelet.plugins, "/var/lib/kubelet/device-plugins"),
        )
        for word in ("--volume", f"{source}:{place}")
    ]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        pytest.param((), ("--log-dir=device-plugin", "--log-level=10"), id="its-daemonset"),
        pytest.param(
            ("--entrypoint", "/usr/bin/sriovdp"),
            ("-v=10", "--logtostderr", "--use-cdi=false"),
            id="its-binary",
        ),
    ],
)
def test_what_the_reference_is_given(
    engine: Engine, program: Sequence[str], arguments: Sequence[str]
) -> None:
    with Container(
        engine, words=(*STRICT, *program), arguments=arguments, mounts=real_places
    ) as container:
        container.kubelet.wait_listed(ATOM, 4)
        container.kubelet.wait_listed(VM, 2)
        assert container.stop().code == 0
        assert container.sockets() == set()


def test_a_file_with_an_odd_name_and_cdi(engine: Engine) -> None:
    arguments = ("--log-dir=x", "--log-level=10", f"--config-file=/etc/pcidp/{ODD}", "--use-cdi")
    container = Container(engine, arguments=arguments, config="{")
    (container.config_folder / ODD).write_bytes(msgspec.json.encode(TWO_POOLS))
    with container:
        container.kubelet.wait_listed(ATOM, 4)
        specs = container.root / "var/run/cdi"
        eventually(lambda: len(list(specs.glob("*.yaml"))) == 2, what="a spec for each pool")
        reply = container.kubelet.allocate(ATOM, [ATOMS[:1]]).container_responses[0]
        assert [device.name.rpartition("=")[2] for device in reply.cdi_devices] == [ATOMS[0]]
        assert container.stop().code == 0
        assert not list(specs.iterdir())


@pytest.mark.parametrize(
    ("arguments", "text", "code", "words"),
    [
        pytest.param(
            (),
            "{",
            Exit.UNUSABLE,
            "rbln-supervisor: /etc/pcidp/config.json: line 1",
            id="a-file-that-is-no-document",
        ),
        pytest.param(
            (),
            config(pool("AT OM", drivers=["rebellions"])),
            Exit.UNUSABLE,
            '/etc/pcidp/config.json: resourceList[0].resourceName: "AT OM": expected',
            id="no-pool-that-is-usable",
        ),
        pytest.param(
            ("--config-file=/etc/pcidp/none",),
            TWO_POOLS,
            Exit.UNUSABLE,
            "rbln-supervisor: /etc/pcidp/none: can't be read: No such file",
            id="a-file-that-is-missing",
        ),
        pytest.param(
            ("--run-dir=/etc/rbln/run",),
            TWO_POOLS,
            Exit.UNUSABLE,
            "rbln-supervisor: /etc/rbln/run: Read-only file system: --run-dir has to be",
            id="a-run-directory-that-can-not-be",
        ),
        pytest.param(
            ("--run-dir=/etc",),
            TWO_POOLS,
            Exit.UNUSABLE,
            "rbln-supervisor: /etc: Read-only file system: --run-dir has to be",
            id="one-that-can-not-be-written-to",
        ),
        pytest.param(
            ("--usecdi",),
            TWO_POOLS,
            Exit.USAGE,
            "rbln-supervisor: error: unknown option --usecdi",
            id="an-unknown-option",
        ),
        pytest.param(("--help",), TWO_POOLS, 0, "usage: rbln-supervisor", id="help"),
    ],
)
def test_what_can_not_be_started_ends(
    engine: Engine,
    report: Report,
    request: pytest.FixtureRequest,
    arguments: Sequence[str],
    text: object,
    code: int,
    words: str,
) -> None:
    with Container(engine, arguments=arguments, config=text) as container:
        assert container.wait() == code
        seconds = monotonic() - container.started_at
        assert words in container.log
        assert "supervisord started" not in container.log
    if code:
        what = request.node.callspec.id.replace("-", " ")
        report.add(f"started with {what}", f"exit code {code:d}: `{words} …`", seconds)


def test_a_file_that_is_wrong_later_leaves_the_accepted_one_served(engine: Engine) -> None:
    with Container(engine) as container:
        container.kubelet.wait_listed(ATOM, 4)
        first = container.status()
        with untouched(container, ATOM, VM):
            container.write_config("{")
            container.signal(first.supervisor.pid, signal.SIGKILL)
            second = container.wait_status(
                lambda status: status.supervisor.pid != first.supervisor.pid, what="the next one"
            )
            assert any("last accepted" in each.text for each in second.supervisor.problems)
            container.write_config(config(ATOM_POOL, VM_POOL))
            container.wait_status(
                lambda status: not status.supervisor.problems, what="the file is right again"
            )
        assert second.pools[ATOM].worker.pid == first.pools[ATOM].worker.pid
