"""kubelet, kube-apiserver and kube-scheduler from the source package, once for a machine."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Final

from tests.e2e.kubelet import images, packages
from tests.e2e.kubelet.setting import VERSION, CannotRun, Places

COMMANDS: Final = ("kubelet", "kube-apiserver", "kube-scheduler")
DISK_BYTES_LEAST: Final = 3 * 1024**3
"""Sources 0.3 GB, Go's cache 1.8 GB, packages 0.6 GB."""

_PACKAGE: Final = "k8s.io/kubernetes"
_VERSION_VARIABLES: Final = f"{_PACKAGE}/vendor/k8s.io/component-base/version"


def check(places: Places) -> None:
    """CannotRun where something is not built yet."""
    for path in (*(places.binaries / name for name in COMMANDS), places.image):
        if not path.exists():
            raise CannotRun(f"{path} is not built yet: scripts/e2e kubelet does that")


def prepare(places: Places, say: Callable[[str], None]) -> None:
    """Install and build what is missing; CannotRun. Minutes the first time, then nothing."""
    places.logs.mkdir(parents=True, exist_ok=True)
    places.binaries.mkdir(exist_ok=True)
    missing = [name for name in COMMANDS if not (places.binaries / name).exists()]
    began = monotonic()
    if missing:
        _check_disk(places.cache)
        say(f"first run: building {', '.join(missing)} {VERSION}, 6 to 8 minutes")
    packages.ensure(
        (*packages.RUNTIME, *(packages.BUILD if missing else ())), places.logs / "apt.log"
    )
    if missing:
        _Source(places).build(missing, lambda text: say(f"{text} ({monotonic() - began:.0f} s)"))
        shutil.rmtree(places.build)
    if not places.image.exists():
        images.write(places.image, packages.file("busybox-static", "bin/busybox"))


def _check_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < DISK_BYTES_LEAST:
        raise CannotRun(
            f"{folder} has {free / 1024**3:.1f} GiB free, the build needs "
            f"{DISK_BYTES_LEAST / 1024**3:.0f}"
        )


class _Source:
    """The unpacked source, in the layout that Kubernetes 1.20 is built in.

    That is GOPATH mode, as its own build does: with modules, Go 1.19 wants a newer go.mod.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._gopath = places.build / "go"
        self._folder = self._gopath / "src" / _PACKAGE
        self._log = places.logs / "build.log"

    def build(self, commands: list[str], say: Callable[[str], None]) -> None:
        """Build these commands into the folder of binaries; CannotRun."""
        if not (self._folder / ".ready").exists():
            self._unpack()
            self._mend()
            (self._folder / ".ready").touch()
            say("source unpacked")
        for command in commands:
            if command == "kube-apiserver":
                self._generate_openapi()
            self._go(f"cmd/{command}", self._places.binaries / command)
            say(f"{command} built")

    def _unpack(self) -> None:
        archive = next(self._places.build.glob("kubernetes_*.orig.tar.*"), None)
        if archive is None:
            self._places.build.mkdir(exist_ok=True)
            packages.download_source(
                "kubernetes", self._places.build, self._places.logs / "apt.log"
            )
            archive = next(self._places.build.glob("kubernetes_*.orig.tar.*"))
        if f"really{VERSION}" not in archive.name and f"_{VERSION}" not in archive.name:
            raise CannotRun(f"the source package is {archive.name}, expected Kubernetes {VERSION}")
        self._folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["tar", "-xf", archive, "-C", self._folder, "--strip-components=1"], check=True
        )

    def _mend(self) -> None:
        # The vendored reflect2 1.0.1 reads the runtime's tables as Go before 1.18 laid them out,
        # and kube-apiserver panics in it; 1.0.2 knows both layouts.
        newer = packages.file("golang-github-modern-go-reflect2-dev", "modern-go/reflect2")
        vendored = self._folder / "vendor/github.com/modern-go/reflect2"
        shutil.rmtree(vendored)
        shutil.copytree(newer, vendored)

    def _generate_openapi(self) -> None:
        """What the API server says of its types: generated, and left out of the archive."""
        place = self._folder / "pkg/generated/openapi/zz_generated.openapi.go"
        if place.exists() and place.stat().st_size:
            return
        tool = self._places.build / "openapi-gen"
        self._go("vendor/k8s.io/kube-openapi/cmd/openapi-gen", tool)
        header = self._folder / "vendor/k8s.io/code-generator/hack/boilerplate.go.txt"
        self._run(
            str(tool),
            *("-i", ",".join(self._described_packages())),
            *("-p", f"{_PACKAGE}/pkg/generated/openapi", "-O", "zz_generated.openapi"),
            *("-h", str(header), "-r", str(self._places.logs / "openapi-violations")),
        )

    def _described_packages(self) -> list[str]:
        """The packages that ask for it by a comment."""
        wanted = re.compile(r"^//\s*\+k8s:openapi-gen=", re.MULTILINE)
        left_out = ("/testdata/", "k8s.io/code-generator/", "k8s.io/sample-apiserver/")
        found = set()
        for top in ("staging/src/k8s.io", "pkg", "cmd", "plugin"):
            for path in (self._folder / top).rglob("*.go"):
                name = str(path.relative_to(self._folder))
                if name.endswith("_test.go") or any(part in name for part in left_out):
                    continue
                if wanted.search(path.read_text(errors="replace")):
                    found.add(str(Path(name).parent).replace("staging/src/", "vendor/"))
        return sorted(f"{_PACKAGE}/{name}" for name in found)

    def _go(self, package: str, result: Path) -> None:
        stamps = {
            "gitVersion": f"v{VERSION}",
            "gitMajor": VERSION.split(".")[0],
            "gitMinor": VERSION.split(".")[1],
            "gitTreeState": "clean",
        }
        flags = " ".join(f"-X {_VERSION_VARIABLES}.{name}={text}" for name, text in stamps.items())
        go = packages.file("golang-1.19-go", "bin/go").resolve()
        aside = result.with_suffix(".new")
        whole = f"{_PACKAGE}/{package}"
        self._run(str(go), "build", "-ldflags", f"-s -w {flags}", "-o", str(aside), whole)
        aside.rename(result)

    def _run(self, *command: str) -> None:
        with self._log.open("ab") as log:
            done = subprocess.run(
                ["nice", "-n", "5", *command],
                cwd=self._folder,
                env=self._environment(),
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: see {self._log}")

    def _environment(self) -> Mapping[str, str]:
        go = packages.file("golang-1.19-go", "bin/go").resolve()
        return {
            **os.environ,
            "PATH": f"{go.parent}:{os.environ['PATH']}",
            "GOPATH": str(self._gopath),
            "GOCACHE": str(self._places.build / "go-cache"),
            "GO111MODULE": "off",
            "GOPROXY": "off",
            "GOFLAGS": "",
            "CGO_ENABLED": "0",
        }
