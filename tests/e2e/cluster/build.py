"""Kubernetes, containerd, etcd and Multus from Go modules, once for a machine."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from tests.e2e import packages
from tests.e2e.cannot_run import CannotRun
from tests.e2e.cluster import images
from tests.e2e.cluster.setting import MODULES, Places, kubernetes_version, release

RUNTIME_PACKAGES: Final = (
    *("runc", "busybox-static", "containernetworking-plugins", "iproute2", "prometheus"),
)
MIN_FREE_BYTES: Final = 6 * 1024**3
"""Modules 1.6 GB, Go's build cache 2.5 GB, programs 0.7 GB."""

_KUBERNETES: Final = "k8s.io/kubernetes/cmd"
_DRA_TEST_DRIVER: Final = "k8s.io/kubernetes/test/e2e/dra/test-driver"
"""Kubernetes' own DRA driver, in Go with client-go and the kubeletplugin helper."""
_CONTAINERD: Final = "github.com/containerd/containerd/v2/cmd"
_VERSION_VARIABLES: Final = "k8s.io/component-base/version"


class Program(NamedTuple):
    """A command of a Go module."""

    name: str
    package: str


class Module(NamedTuple):
    """A folder of ``modules/``, and what is built from it."""

    name: str
    folder: Path
    """Where the programs are kept: its name has their version."""
    programs: tuple[Program, ...]
    flags: str = ""
    """For the linker."""

    @property
    def missing(self) -> tuple[Program, ...]:
        """The programs that are not built yet."""
        return tuple(each for each in self.programs if not (self.folder / each.name).exists())


def modules(places: Places) -> tuple[Module, ...]:
    """Everything that a cluster is made of."""
    version = kubernetes_version()
    stamps = {
        "gitVersion": f"v{version}",
        "gitMajor": version.split(".")[0],
        "gitMinor": version.split(".")[1],
        "gitTreeState": "clean",
    }
    names = ("kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    containerd = ("containerd", "containerd-shim-runc-v2", "ctr")
    return (
        Module(
            f"kubernetes-{release()}",
            places.kubernetes,
            tuple(Program(name, f"{_KUBERNETES}/{name}") for name in names),
            " ".join(f"-X {_VERSION_VARIABLES}.{key}={text}" for key, text in stamps.items()),
        ),
        Module(
            "runtime",
            places.runtime,
            (
                *(Program(name, f"{_CONTAINERD}/{name}") for name in containerd),
                Program("etcd", "go.etcd.io/etcd/server/v3"),
            ),
        ),
        Module(
            "multus",
            places.multus,
            (Program("multus", "gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus"),),
        ),
    )


def check(places: Places) -> None:
    """CannotRun where something is not built yet."""
    for module in modules(places):
        if module.missing:
            raise CannotRun(
                f"{module.missing[0].name} is not built yet: ./scripts/e2e cluster does that"
            )


def prepare(places: Places, say: Callable[[str], None]) -> None:
    """Install and build what is missing; takes minutes the first time, then nothing.

    Raises:
        CannotRun: the machine lacks a tool, a package or disk space.
        RuntimeError: a build failed.
    """
    for folder in (places.logs, places.binaries, places.images):
        folder.mkdir(parents=True, exist_ok=True)
    packages.ensure(RUNTIME_PACKAGES, places.logs / "apt.log")
    missing = [module for module in modules(places) if module.missing]
    if missing:
        _check_disk(places.cache)
    for module in missing:
        _check_go(module)
        _build(module, places.logs / "build.log", say)
    _check_version(places)
    busybox = packages.file("busybox-static", "bin/busybox")
    if not (archive := places.images / "busybox.tar").exists():
        images.write(archive, busybox)


def dra_test_driver(places: Places) -> Path:
    """Build Kubernetes' own DRA driver if it is missing; its path. CannotRun, RuntimeError."""
    program = Program("dra-test-driver", _DRA_TEST_DRIVER)
    module = Module(f"kubernetes-{release()}", places.kubernetes, (program,))
    if module.missing:
        _check_go(module)
        _build(module, places.logs / "build.log", print)
    return places.kubernetes / program.name


def _check_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise CannotRun(
            f"{folder} has {free / 1024**3:.1f} GiB free, the build needs "
            f"{MIN_FREE_BYTES / 1024**3:.0f}"
        )


def _check_go(module: Module) -> None:
    go = shutil.which("go")
    if go is None:
        raise CannotRun(f"there is no go, which builds {module.name}")
    installed = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True)
    wanted = re.search(r"^go (\S+)$", (MODULES / module.name / "go.mod").read_text(), re.MULTILINE)
    assert wanted is not None
    if _numbers(installed.stdout) < _numbers(wanted[1]):
        raise CannotRun(
            f"{module.name} needs Go {wanted[1]} or newer, there is {installed.stdout.strip()}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version))


def _build(module: Module, log: Path, say: Callable[[str], None]) -> None:
    """Build what a module lacks; each program appears under its name when it is complete."""
    module.folder.mkdir(exist_ok=True)
    for program in module.missing:
        began = monotonic()
        new = module.folder / f"{program.name}.new"
        command = ("go", "build", "-trimpath", "-ldflags", f"-s -w {module.flags}", "-o", new)
        with log.open("ab") as file:
            done = subprocess.run(
                ["nice", "-n", "5", *command, program.package],
                cwd=MODULES / module.name,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=False,
            )
        if done.returncode:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"go build {program.package} failed: {' '.join(last)} (see {log})")
        new.rename(module.folder / program.name)
        say(f"{program.name} of {module.folder.name} built in {monotonic() - began:.0f} s")


def _check_version(places: Places) -> None:
    """The kubelet is the one that its folder's name says."""
    done = subprocess.run(
        [places.kubernetes / "kubelet", "--version"], capture_output=True, text=True, check=True
    )
    if kubernetes_version() not in done.stdout:
        raise CannotRun(f"{places.kubernetes}/kubelet says {done.stdout.strip()}: remove it")


def _environment() -> Mapping[str, str]:
    # readonly: what is built is what go.mod and go.sum say. local: no other toolchain is fetched.
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
        # A third less CPU time: compiler and linker end before a collection would pay.
        "GOGC": "off",
        "GOMEMLIMIT": "2GiB",
    }
