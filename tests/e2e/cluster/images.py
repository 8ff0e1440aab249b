"""One container image for pods and their sandboxes: a static busybox, no registry."""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Final

IMAGE: Final = "docker.io/e2e/busybox:1"
PAUSE: Final = IMAGE
"""Sandboxes need a process that waits, and this one does."""
WAIT: Final = "trap exit TERM; while :; do sleep 1000 & wait; done"
"""What its containers do: nothing, until they are asked to end."""

_FOLDERS: Final = ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr", "usr/bin", "var")


def write(path: Path, busybox: Path) -> None:
    """Write the image as an archive that ``ctr images import`` takes."""
    layer = _layer(busybox)
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/bin/sh", "-c", WAIT], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{digest}/layer.tar"
    manifest = [{"Config": name, "RepoTags": [IMAGE], "Layers": [layer_name]}]
    members = {"manifest.json": json.dumps(manifest).encode(), name: config, layer_name: layer}
    aside = path.with_suffix(".new")
    with tarfile.open(aside, "w") as archive:
        for member, content in members.items():
            _add(archive, member, content, mode=0o644)
    aside.rename(path)


def _layer(busybox: Path) -> bytes:
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for folder in _FOLDERS:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            layer.addfile(entry)
        _add(layer, "bin/busybox", busybox.read_bytes(), mode=0o755)
        _add(layer, "etc/passwd", b"root:x:0:0::/:/bin/sh\n", mode=0o644)
        for applet in sorted(set(applets.stdout.split()) - {"busybox"}):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            layer.addfile(entry)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
