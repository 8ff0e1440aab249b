"""The program: each section in a thread, and a line of JSON for each that ends in time."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from time import monotonic

import msgspec

from rbln_supervisor.config import accepted
from rbln_supervisor.doctor import bundle_files, folders, hardware, host_files, names, processes
from rbln_supervisor.options import Options

_Done = tuple[str, msgspec.Struct | str]
"""Name of a section, and its result, or its error."""


class ExamineRequest(msgspec.Struct, frozen=True):
    """The request: the one argument of this program, as JSON."""

    run_dir: str
    within_s: float
    config_file: str | None = None
    """This and the following options override those of the last supervisor."""
    kubelet_dir: str | None = None
    device_plugins_dir: str | None = None
    host_root: str | None = None
    listing: bool = False
    """True: also collect files for a support bundle."""
    name: str | None = None
    """Find only the owners of this name."""


def main() -> None:
    """Examine the node; exit also while sections hang."""
    order = msgspec.json.decode(sys.argv[1], type=ExamineRequest)
    run_dir = Path(order.run_dir)
    end = monotonic() + order.within_s
    options, why = folders.last_options(run_dir)
    options = _with_overrides(options, order)
    sections: dict[str, Callable[[], msgspec.Struct]] = {
        "run_dir": lambda: folders.run_dir(run_dir, why),
        "kubelet": lambda: folders.examine_kubelet(options),
        "config": lambda: hardware.examine_config(options),
        "hardware": lambda: hardware.examine_hardware(options, _served_config(order, options)),
        "written": lambda: host_files.examine_files(options),
        "limits": lambda: processes.examine_limits(run_dir),
    }
    if order.name is not None:
        asked = order.name
        sections = {"owners": lambda: names.device_owners(options.host_root, asked)}
    if order.listing:
        sections["listing"] = lambda: bundle_files.list_files(options, run_dir)
    done: Queue[_Done] = Queue()
    for name, section in sections.items():
        threading.Thread(target=_run_section, args=(name, section, done), daemon=True).start()
    for _ in sections:
        try:
            name, found = done.get(timeout=max(0.0, end - monotonic()))
        except Empty:
            break
        line = msgspec.json.encode({name: found})
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    os._exit(0)  # ends threads that hang


def _run_section(name: str, section: Callable[[], msgspec.Struct], done: "Queue[_Done]") -> None:
    try:
        done.put((name, section()))
    except Exception as error:  # noqa: BLE001 - the last frame of this thread
        done.put((name, f"{type(error).__name__}: {error}"))


def _served_config(order: ExamineRequest, options: Options) -> bytes | None:
    """Return the accepted configuration if a supervisor or worker lives and no file is named."""
    found = folders.run_dir(options.run_dir, "")
    if order.config_file is not None or not (found.locked or found.serving):
        return None
    record = accepted.load_config(options)
    return record.raw if record is not None else None


def _with_overrides(options: Options, order: ExamineRequest) -> Options:
    root_dir = order.kubelet_dir
    told = {
        "config_file": order.config_file,
        "kubelet_dir": root_dir,
        "pod_resources_dir": root_dir and f"{root_dir}/pod-resources",
        "plugins_registry_dir": root_dir and f"{root_dir}/plugins_registry",
        "device_plugins_dir": order.device_plugins_dir,
        "host_root": order.host_root,
    }
    return msgspec.structs.replace(
        options, **{key: Path(value) for key, value in told.items() if value is not None}
    )


if __name__ == "__main__":
    main()
