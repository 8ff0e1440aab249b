"""The command line as options: our flags, and those of the reference's binary and entrypoint.

The reference takes Go's flags: one dash or two, ``-flag=value`` or ``-flag value``, booleans only
as ``-flag`` or ``-flag=value``. Positional arguments are ignored. Its log flags are accepted and
change nothing but the level: log lines always go to standard error.
"""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

import msgspec

from rbln_supervisor.options import Options
from rbln_worker.contract.version import VERSION
from rbln_worker.core.allocation.given import PreStartChoice
from rbln_worker.core.registration import Choice
from rbln_worker.process.log import Format

_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_SWITCHES: Final = frozenset(
    {"use-cdi", "allow-default-route", "watch-config", "logtostderr", "alsologtostderr"}
)
_IGNORED: Final = (
    *("logtostderr", "alsologtostderr", "stderrthreshold", "log_dir", "log-dir", "log_link"),
    *("logbuflevel", "v", "vmodule", "log_backtrace_at"),
)
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_SIZE: Final = re.compile(r"([0-9]{1,19})(|KiB|MiB|GiB)", re.ASCII)
_UNITS: Final = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MIN_MEMORY: Final = 256 << 20
"""Minimum of --worker-memory-max. A small pool's worker uses 125 MiB, of which 104 are thread
stacks. With 16 cores and more, where gRPC starts 12 further threads, it uses 218 MiB, of which 200
are stacks."""


_FIELDS: Final = frozenset(Options.__struct_fields__)


def parse_arguments(argv: Sequence[str], *, in_container: bool) -> Options:
    """Return the options; exit with code 2 and the usage if they are invalid."""
    given, words = _build_parser().parse_known_args([_normalize_argument(word) for word in argv])
    unknown = [word for word in words if word.startswith("-")]
    if unknown:
        _build_parser().error(f"unknown option {unknown[0]}")
    if words:
        print(f"rbln-supervisor: ignored: {' '.join(words)}", file=sys.stderr)  # noqa: T201
    known = {name: value for name, value in vars(given).items() if name in _FIELDS}
    known["pod_resources_dir"] = given.pod_resources_dir or given.kubelet_dir / "pod-resources"
    known["plugins_registry_dir"] = (
        given.plugins_registry_dir or given.kubelet_dir / "plugins_registry"
    )
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
    option = parser.add_argument
    option(
        "--config-file",
        type=Path,
        metavar="FILE",
        help="the configuration of the resource pools, JSON or YAML (%(default)s)",
    )
    option(
        "--resource-prefix",
        metavar="DNS-NAME",
        help="prefix of pools without one (%(default)s)",
    )
    option(
        "--use-cdi",
        type=_parse_boolean,
        metavar="BOOL",
        help="the container runtime adds devices, from CDI specs in /var/run/cdi (false)",
    )
    option(
        "--cdi-mode",
        choices=("annotations", "cri", "both"),
        help="how the container runtime gets device names: annotations for old runtimes, the field "
        "of the CRI (cri), or both, which every kubelet and runtime accepts (%(default)s)",
    )
    option(
        "--registration",
        choices=get_args(Choice),
        help="how pools are registered with the kubelet; auto: at kubelet.sock, or by the plugin "
        "watcher if there is no device-plugins directory (%(default)s)",
    )
    option(
        "--kubelet-dir",
        type=_parse_absolute_path,
        metavar="DIR",
        help="the kubelet's --root-dir on the host (%(default)s)",
    )
    option(
        "--device-plugins-dir",
        type=_parse_absolute_path,
        metavar="DIR",
        help="the directory of kubelet.sock, whatever the kubelet's --root-dir is (%(default)s)",
    )
    option(
        "--pod-resources-dir",
        type=_parse_absolute_path,
        metavar="DIR",
        help="the directory of the pod-resources API (pod-resources below --kubelet-dir)",
    )
    option(
        "--plugins-registry-dir",
        type=_parse_absolute_path,
        metavar="DIR",
        help="the directory of the plugin watcher (plugins_registry below --kubelet-dir)",
    )
    option(
        "--run-dir",
        type=_existing_or_new,
        metavar="DIR",
        help="the directory of sockets, locks and last log lines (%(default)s)",
    )
    option(
        "--host-root",
        type=_existing_or_new,
        metavar="DIR",
        help="the directory with the host's /sys, /dev and the kubelet's directories (%(default)s)",
    )
    option(
        "--allow-default-route",
        type=_parse_boolean,
        metavar="BOOL",
        help="assign network devices even if the node's default route uses them (false)",
    )
    option(
        "--watch-config",
        type=_parse_boolean,
        metavar="BOOL",
        help="reload when the configuration file changes (true)",
    )
    option(
        "--gone-grace",
        dest="gone_grace_s",
        type=_parse_seconds,
        metavar="SECONDS",
        help="how long a device that has vanished stays listed as Unhealthy (%(default)g)",
    )
    option(
        "--rescan-interval",
        dest="rescan_s",
        type=_parse_seconds,
        metavar="SECONDS",
        help="time between two periodic discoveries (%(default)g)",
    )
    option(
        "--pre-start-check",
        choices=get_args(PreStartChoice),
        help="when the kubelet calls PreStartContainer; auto: while a pod holds a device whose "
        "nodes have other names than the pod was given (%(default)s)",
    )
    option(
        "--worker-memory-max",
        type=_parse_memory,
        metavar="SIZE",
        help="limit of a worker's private memory, including the stacks of its threads, such as "
        "512MiB; at least 256MiB, or none for no limit (1GiB)",
    )
    option(
        "--log-level",
        type=_parse_level,
        metavar="LEVEL",
        help="debug, info, warning or error; a number, as for the reference, is info (info)",
    )
    option(
        "--log-format",
        choices=get_args(Format),
        help="log lines as text, or as a JSON object each (%(default)s)",
    )
    for name in _IGNORED:
        option(f"--{name}", help=argparse.SUPPRESS)
    parser.set_defaults(
        **{
            **msgspec.structs.asdict(Options()),
            "pod_resources_dir": None,
            "plugins_registry_dir": None,
        }
    )
    return parser


def _parse_boolean(text: str) -> bool:
    if text not in _BOOLEANS:
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
    return _BOOLEANS[text]


def _parse_absolute_path(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise argparse.ArgumentTypeError(f"expected an absolute path, got {text!r}")
    return path


def _existing_or_new(text: str) -> Path:
    return Path(text).absolute()


def _parse_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return seconds


def _parse_memory(text: str) -> int:
    """Return a size in bytes; 0: no limit."""
    if text == "none":
        return 0
    found = _SIZE.fullmatch(text)
    size = int(found[1]) * _UNITS[found[2] or ""] if found else 0
    if not _MIN_MEMORY <= size < 1 << 62:
        raise argparse.ArgumentTypeError(
            f"expected none, or at least 256MiB (a number of bytes, KiB, MiB or GiB), got {text!r}"
        )
    return size


def _parse_level(text: str) -> int:
    if text.isascii() and text.isdigit():
        return logging.INFO
    if text.lower() not in _LEVELS:
        raise argparse.ArgumentTypeError(f"expected {', '.join(_LEVELS)} or a number, got {text!r}")
    return _LEVELS[text.lower()]
