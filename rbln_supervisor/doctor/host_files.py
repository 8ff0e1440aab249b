"""Folders of ours that other programs read, and the validity of our files there."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rbln_supervisor.config import config_file
from rbln_supervisor.core.config import node_config as configuration
from rbln_supervisor.core.config.pool import PoolConfig
from rbln_supervisor.core.doctor.facts import Folder, Written
from rbln_supervisor.doctor.folders import examine_folder
from rbln_supervisor.options import Options
from rbln_worker.core.allocation import cdi, devinfo
from rbln_worker.spec import below_root

_MAX_FILES: Final = 20_000
_MAX_BYTES: Final = 16 * 1024 * 1024


def examine_files(options: Options) -> Written:
    """Examine CDI specs if they are used, and device-info files if a pool has them."""
    try:
        pools = configuration.parse(
            config_file.read_file(options.config_file), prefix=options.resource_prefix
        ).pools
    except configuration.ConfigError:
        pools = ()
    network = [pool for pool in pools if pool.spec.device_type == "netDevice"]
    specs = below_root(options.host_root, cdi.FOLDER)
    infos = below_root(options.host_root, devinfo.FOLDER)
    wrong: dict[str, str] = {}
    if options.cdi != "off":
        wrong.update(_wrong_specs(specs, pools))
    wrong.update(_wrong_infos(infos, network))
    return Written(
        cdi=_to_be_made(specs) if options.cdi != "off" else None,
        device_info=_to_be_made(infos) if network else None,
        wrong=wrong,
    )


def _to_be_made(path: Path) -> Folder:
    """Examine a folder, or its nearest ancestor if it does not exist: it is created when needed."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return examine_folder(path)


def _wrong_specs(place: Path, pools: tuple[PoolConfig, ...]) -> Iterator[tuple[str, str]]:
    for pool in pools:
        path = place / cdi.file_names(pool.spec)[pool.spec.device_type]
        text = _read_text(path)
        if text is not None and (why := _wrong_spec(text, pool)):
            yield str(path), why


def _wrong_spec(text: str, pool: PoolConfig) -> str:
    first, _, rest = text.partition("\n")
    if f"{first}\n" != cdi.header_line(pool.spec):
        return "it does not begin with our mark: somebody else wrote it"
    try:
        spec = json.loads(rest)
    except (ValueError, RecursionError) as error:
        return f"it is no JSON: {error}"
    if not isinstance(spec, dict) or not spec.get("devices") or "cdiVersion" not in spec:
        return "expected an object with cdiVersion, kind and devices"
    if spec.get("kind") != cdi.cdi_kind(pool.spec):
        return f"expected kind {cdi.cdi_kind(pool.spec)}, got {str(spec.get('kind'))[:80]}"
    return ""


def _wrong_infos(place: Path, pools: list[PoolConfig]) -> Iterator[tuple[str, str]]:
    try:
        names = sorted(os.listdir(place))[:_MAX_FILES]  # noqa: PTH208 - names only
    except OSError:
        return
    starts = tuple(f"{pool.spec.prefix}-{pool.spec.resource}-" for pool in pools)
    for name in names:
        if not name.startswith(starts) or not name.endswith("-device.json"):
            continue
        text = _read_text(place / name)
        try:
            if text is not None and "type" not in json.loads(text):
                yield str(place / name), "expected an object with type and version"
        except (ValueError, TypeError, RecursionError) as error:
            yield str(place / name), f"it is no JSON: {error}"


def _read_text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace")
    except OSError:
        return None
