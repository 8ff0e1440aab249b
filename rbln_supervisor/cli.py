"""The command line as options: our flags, and those of the reference's binary and entrypoint.

The reference takes Go's flags: one dash or two, ``-flag=value`` or ``-flag value``, booleans only
as ``-flag`` or ``-flag=value``. Positional arguments are ignored. Its log flags are accepted and
change nothing but the level: log lines always go to standard error.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from rbln_supervisor.option_values import (
    parse_absolute_path,
    parse_boolean,
    parse_level,
    parse_memory,
    parse_path,
    parse_seconds,
)
from rbln_supervisor.options import Options
from rbln_worker.contract.version import VERSION
from rbln_worker.core.allocation.given import PreStartChoice
from rbln_worker.core.registration import Choice
from rbln_worker.process.log import Format

_FILE: Final[Mapping[str, Any]] = {"type": Path, "metavar": "FILE"}
_DIR: Final[Mapping[str, Any]] = {"type": parse_path, "metavar": "DIR"}
_HOST_DIR: Final[Mapping[str, Any]] = {"type": parse_absolute_path, "metavar": "DIR"}
_SWITCH: Final[Mapping[str, Any]] = {"type": parse_boolean, "metavar": "BOOL"}
_SECONDS: Final[Mapping[str, Any]] = {"type": parse_seconds, "metavar": "SECONDS"}

_FLAGS: Final[Mapping[str, tuple[Mapping[str, Any], str]]] = {
    "config-file": (_FILE, "the configuration of the resource pools, JSON or YAML (%(default)s)"),
    "resource-prefix": ({"metavar": "DNS-NAME"}, "prefix of pools without one (%(default)s)"),
    "use-cdi": (_SWITCH, "the container runtime adds devices, from CDI specs (false)"),
    "cdi-mode": (
        {"choices": ("annotations", "cri", "both")},
        "how the container runtime gets device names: annotations for old runtimes, the field "
        "of the CRI (cri), or both, which every kubelet and runtime accepts (%(default)s)",
    ),
    "registration": (
        {"choices": get_args(Choice)},
        "how pools are registered with the kubelet; auto: at kubelet.sock, or by the plugin "
        "watcher if there is no device-plugins directory (%(default)s)",
    ),
    "kubelet-dir": (_HOST_DIR, "the kubelet's --root-dir on the host (%(default)s)"),
    "device-plugins-dir": (
        _HOST_DIR,
        "the folder of kubelet.sock, for any --kubelet-dir (%(default)s)",
    ),
    "pod-resources-dir": (_HOST_DIR, "pod-resources, if it is not below --kubelet-dir"),
    "plugins-registry-dir": (
        _HOST_DIR,
        "plugins_registry, if it is not below --kubelet-dir",
    ),
    "run-dir": (_DIR, "the directory of sockets, locks and last log lines (%(default)s)"),
    "host-root": (
        _DIR,
        "the root of the host's /sys, /dev and the kubelet's folders (%(default)s)",
    ),
    "allow-default-route": (_SWITCH, "also assign network devices of the default route (false)"),
    "watch-config": (_SWITCH, "reload when the configuration file changes (true)"),
    "gone-grace": (
        {**_SECONDS, "dest": "gone_grace_s"},
        "how long a device that has vanished stays listed as Unhealthy (%(default)g)",
    ),
    "rescan-interval": (
        {**_SECONDS, "dest": "rescan_s"},
        "time between two periodic discoveries (%(default)g)",
    ),
    "pre-start-check": (
        {"choices": get_args(PreStartChoice)},
        "when the kubelet calls PreStartContainer; auto: while a pod holds a device whose "
        "nodes have other names than the pod was given (%(default)s)",
    ),
    "worker-memory-max": (
        {"type": parse_memory, "metavar": "SIZE"},
        "limit of a worker's private memory, including the stacks of its threads, such as "
        "512MiB; at least 256MiB, or none for no limit (1GiB)",
    ),
    "node-name": (
        {"metavar": "NAME"},
        "the name of the Node object, for pools exported by DRA (NODE_NAME, or the host's name)",
    ),
    "kubeconfig": (_FILE, "access to the API server for them (KUBECONFIG, or a service account)"),
    "log-level": (
        {"type": parse_level, "metavar": "LEVEL"},
        "debug, info, warning or error; a number, as for the reference, is info (info)",
    ),
    "log-format": ({"choices": get_args(Format)}, "lines of text, or JSON objects (%(default)s)"),
}
_IGNORED_SWITCHES: Final = ("logtostderr", "alsologtostderr")
_IGNORED: Final = (
    *("stderrthreshold", "log_dir", "log-dir", "log_link", "logbuflevel", "v", "vmodule"),
    "log_backtrace_at",
)
_SWITCHES: Final = {
    *_IGNORED_SWITCHES,
    *(name for name, (kind, _) in _FLAGS.items() if kind is _SWITCH),
}


def parse_arguments(
    argv: Sequence[str], *, in_container: bool, environment: Mapping[str, str] | None = None
) -> Options:
    """Return the options; exit with code 2 and the usage if they are invalid.

    ``environment`` has the defaults of ``--node-name`` and ``--kubeconfig``.
    """
    environment = {} if environment is None else environment
    given, words = _build_parser().parse_known_args([_normalize_argument(word) for word in argv])
    unknown = [word for word in words if word.startswith("-")]
    if unknown:
        _build_parser().error(f"unknown option {unknown[0]}")
    if words:
        print(f"rbln-supervisor: ignored: {' '.join(words)}", file=sys.stderr)  # noqa: T201
    known = {name: value for name, value in vars(given).items() if name != "ignored"}
    known["pod_resources_dir"] = given.pod_resources_dir or given.kubelet_dir / "pod-resources"
    known["plugins_registry_dir"] = (
        given.plugins_registry_dir or given.kubelet_dir / "plugins_registry"
    )
    # The kubelet's name of a node is its host name in lower case, unless it is overridden.
    host = os.uname().nodename.lower()
    known["node_name"] = given.node_name or environment.get("NODE_NAME") or host
    kubeconfig = given.kubeconfig or environment.get("KUBECONFIG")
    known["kubeconfig"] = Path(kubeconfig).absolute() if kubeconfig else None
    return Options(**{**known, "in_container": in_container})


def _normalize_argument(word: str) -> str:
    """Return an argument with two dashes, and with a value if it is a switch without one."""
    if not word.startswith("-") or word in {"-", "--", "-h"}:
        return word
    name, equals, value = word.lstrip("-").partition("=")
    if name in _SWITCHES and not equals:
        return f"--{name}=true"
    return f"--{name}{equals}{value}"


_MORE: Final = """\
A switch (BOOL) without a value is on. The reference's flags for its log files are accepted and
have no effect.

signals:
  SIGTERM, SIGINT, SIGQUIT  stop the workers and exit
  SIGHUP                    reload the configuration, as rbln-ctl reload does

exit codes:
  0   stopped on request
  1   it cannot start; the last log lines give the reason and a remedy
  2   wrong usage
  70  internal error; the traceback is in the log

examples:
  rbln-supervisor --config-file /etc/pcidp/config.json --registration kubelet-sock
  rbln-ctl validate /etc/pcidp/config.json    # checks a file first
"""


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rbln-supervisor",
        description="Kubernetes device plugin: one worker process for each resource pool.",
        epilog=_MORE,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument(
        "--check",
        action="store_true",
        help="only check the options and the configuration; start nothing",
    )
    for name, (kind, text) in _FLAGS.items():
        parser.add_argument(f"--{name}", help=text, **kind)
    for name in (*_IGNORED_SWITCHES, *_IGNORED):
        parser.add_argument(f"--{name}", dest="ignored", help=argparse.SUPPRESS)
    parser.set_defaults(
        **{
            **msgspec.structs.asdict(Options()),
            "pod_resources_dir": None,
            "plugins_registry_dir": None,
        }
    )
    return parser
