"""What is in the image, and what is not."""

from typing import Final
from urllib.parse import urlsplit

import msgspec

from tests.e2e.image.base import BASE
from tests.e2e.image.build import AGAIN, IMAGE, REVISION, VERSION, build, pip_settings
from tests.e2e.image.container import WORDS
from tests.e2e.image.engine import Engine
from tests.e2e.image.places import Places
from tests.e2e.report import Report
from tests.sim.stack import REPOSITORY

COMPILERS: Final = ("cc", "gcc", "g++", "clang", "as", "ld", "make", "cython", "rustc", "go")
LEFT_BEHIND: Final = (
    *("/root/.cache", "/tools", "/build", "/plugin", "/run/secrets", "/etc/pip.conf"),
    *("/opt/rbln/lib/python*/site-packages/pip", "/tmp/*", "/var/tmp/*"),
)
MIB: Final = 1024**2

HOW_COMPILED: Final = """
import pathlib, struct, sys
files = list(pathlib.Path("/opt/rbln/lib").rglob("*.py"))
made = [f.parent / "__pycache__" / f"{f.stem}.{sys.implementation.cache_tag}.pyc" for f in files]
print(len(files) > 500, {struct.unpack("<I", f.read_bytes()[4:8])[0] for f in made})
"""
INSTALLED: Final = """
import importlib.metadata
for each in importlib.metadata.distributions():
    print(f"{each.name.lower().replace('_', '-')}=={each.version}")
"""


def test_it_says_what_it_is(engine: Engine) -> None:
    config = engine.image(IMAGE).config
    assert config.labels["org.opencontainers.image.version"] == VERSION
    assert config.labels["org.opencontainers.image.revision"] == REVISION
    assert config.labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config.entrypoint == ("rbln-entrypoint",)
    assert (config.user, config.stop_signal) == ("0:0", "SIGTERM")


def test_nothing_that_builds_is_left(engine: Engine) -> None:
    assert inside(engine, "sh", "-c", "for each; do command -v $each; done; true", *COMPILERS) == ""
    assert inside(engine, "sh", "-c", f"ls -d {' '.join(LEFT_BEHIND)} 2>/dev/null; true") == ""


def test_every_module_is_compiled_and_none_looks_at_its_source(engine: Engine) -> None:
    """A root that is read-only has no second chance; 1 is "by hash, unchecked" (PEP 552)."""
    assert inside(engine, "python", "-c", HOW_COMPILED).strip() == "True {1}"


def test_what_is_installed_is_what_is_pinned(engine: Engine) -> None:
    lock = REPOSITORY / "deployments/container/requirements.txt"
    pinned = {
        line.split()[0].lower()
        for line in lock.read_text().splitlines()
        if "==" in line and " ; " not in line
    }
    found = set(inside(engine, "python", "-c", INSTALLED).split())
    assert {each for each in found if not each.startswith("rbln-device-plugin")} == pinned


def test_where_packages_came_from_is_nowhere(engine: Engine) -> None:
    """The index is a setting of the build: neither the history nor a file speaks of it."""
    settings = pip_settings()
    hosts = {
        host
        for key in ("index-url", "extra-index-url", "proxy")
        for url in settings.get(key, "").split()
        if (host := urlsplit(url).hostname)
    }
    image = engine.image(IMAGE)
    told = msgspec.json.encode((image.config, image.history)).decode()
    assert "rbln-entrypoint" in told
    assert [word for word in (*hosts, "PIP_", "pip.conf") if word in told] == []
    files = "grep -rlF -e no-host.invalid " + " ".join(f"-e {host}" for host in hosts)
    assert inside(engine, "sh", "-c", f"{files} /opt/rbln /etc; true") == ""


def test_two_builds_are_the_same(engine: Engine, places: Places, report: Report) -> None:
    took_s = build(engine, places, AGAIN, cached=False)
    one, other, below = (engine.image(name) for name in (IMAGE, AGAIN, BASE))
    report.add("the image is built again, without a cache", "the same layers, bit by bit", took_s)
    report.add(
        "its size",
        f"{one.size / MIB:.0f} MiB, of them {(one.size - below.size) / MIB:.0f} on top of the base",
    )
    assert one.root_fs == other.root_fs


def inside(engine: Engine, program: str, *words: str) -> str:
    """What a program prints in the image."""
    return engine.podman("run", "--rm", *WORDS, "--entrypoint", program, IMAGE, *words)
