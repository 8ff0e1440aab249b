"""The command line of rbln-ctl, with all texts of --help."""

import argparse
from pathlib import Path
from typing import Final, NamedTuple

from rbln_supervisor.ctl.times import parse_since
from rbln_worker.contract.version import VERSION

PREFIX: Final = "intel.com"
"""Also the supervisor's default."""
RUN_DIR: Final = Path("/run/rbln")

_CODES: Final = """\
exit codes:
  0    done; doctor: nothing is wrong
  1    refused or failed, a line each on standard error; doctor: something is wrong
  2    wrong usage
  3    the supervisor is not reachable, events: its run directory; doctor and support-bundle say
       what can be seen without it
  130  interrupted
"""

_EXAMPLES: Final = """\
where to begin:
  rbln-ctl doctor                  what is wrong on this node, and what to do about it
  rbln-ctl status --watch          pools, workers and devices, as they change
  rbln-ctl explain 0000:3b:00.0    why a device is in its pool, or in none
  rbln-ctl events --since 1h       what happened
"""


class Verb(NamedTuple):
    """A command."""

    what: str
    """One line."""
    examples: str


VERBS: Final[dict[str, Verb]] = {
    "status": Verb(
        "show pools, workers and devices",
        "  rbln-ctl status --watch --unhealthy\n"
        "  rbln-ctl status --pool ATOM --json | jq '.pools[].devices'",
    ),
    "doctor": Verb(
        "look for what is wrong on this node; needs no supervisor",
        "  rbln-ctl doctor\n"
        "  rbln-ctl doctor --json | jq -r '.findings[] | select(.severity == \"error\") | .code'\n"
        "  rbln-ctl doctor --config-file /etc/pcidp/config.json   # where no supervisor ever ran",
    ),
    "events": Verb(
        "show what happened: devices, pools, workers, registrations, reloads, kubelets",
        "  rbln-ctl events --since 1h --pool ATOM\n"
        "  rbln-ctl events --device 0000:3b:00.0 -n 100\n"
        "  rbln-ctl events --follow --json",
    ),
    "explain": Verb(
        "say which pool has a device and why, or why none has it",
        "  rbln-ctl explain 3b:00.0\n  rbln-ctl explain enp59s0f0v3",
    ),
    "reload": Verb(
        "read the configuration file again; all of it, or nothing changes",
        "  rbln-ctl validate /etc/pcidp/config.json --against-host && rbln-ctl reload\n"
        "  rbln-ctl reload --force",
    ),
    "rescan": Verb(
        "look for devices now, and at all that there are",
        "  modprobe rebellions && rbln-ctl rescan && rbln-ctl status",
    ),
    "upgrade": Verb(
        "replace the running processes by the installed version, without a gap",
        "  /opt/rbln/bin/pip install --upgrade rbln-device-plugin && rbln-ctl upgrade",
    ),
    "probe": Verb(
        "end with 0 where the supervisor answers (alive), or has all pools listed (ready)",
        "  rbln-ctl probe ready && echo the kubelet lists every pool\n"
        "  kubectl exec POD -- rbln-ctl probe alive",
    ),
    "validate": Verb(
        "check a configuration file; needs no supervisor",
        "  rbln-ctl validate /etc/pcidp/config.json\n  rbln-ctl validate new.yaml --against-host",
    ),
    "support-bundle": Verb(
        "pack all of this for somebody who can't log in here, without secrets",
        "  rbln-ctl support-bundle\n  rbln-ctl support-bundle /tmp/node7.tar.gz",
    ),
    "completion": Verb(
        "print a script that completes commands, pools and devices in a shell",
        "  source <(rbln-ctl completion bash)\n"
        '  rbln-ctl completion zsh > "${fpath[1]}/_rbln-ctl"\n'
        "  rbln-ctl completion fish > ~/.config/fish/completions/rbln-ctl.fish",
    ),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    everywhere = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    everywhere.add_argument(
        "--run-dir",
        type=Path,
        default=argparse.SUPPRESS,  # otherwise a verb's default replaces a value before the verb
        metavar="DIR",
        help=f"the supervisor's folder (default: {RUN_DIR})",
    )
    everywhere.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON"
    )
    whole = argparse.ArgumentParser(
        prog="rbln-ctl",
        description="Ask the Rebellions device plugin's supervisor on this node.",
        epilog=f"{_EXAMPLES}\n{_CODES}",
        parents=[everywhere],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=VERSION)
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    for name, verb in VERBS.items():
        one = verbs.add_parser(
            name,
            help=verb.what,
            description=f"{verb.what[0].upper()}{verb.what[1:]}.",
            epilog=f"examples:\n{verb.examples}\n\n{_CODES}",
            parents=[everywhere],
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _ARGUMENTS.get(name, _add_nothing)(one)
    # For the completion scripts: without help, because people do not type it.
    verbs.add_parser("complete", parents=[everywhere]).add_argument("words", nargs="*")
    return whole


def _add_nothing(_: argparse.ArgumentParser) -> None:
    """Add nothing: the command has only the common options."""


def _add_status(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--pool", metavar="POOL", help="this pool alone, with or without its prefix")
    verb.add_argument("--unhealthy", action="store_true", help="only what is not well")
    verb.add_argument("--watch", action="store_true", help="show it anew until Ctrl-C")
    verb.add_argument(
        "--interval",
        type=_parse_seconds,
        default=1.0,
        metavar="SECONDS",
        help="between two looks with --watch (default: 1)",
    )


def _add_doctor(verb: argparse.ArgumentParser) -> None:
    asked = "where the supervisor runs or ran, it is asked or its options are read"
    verb.add_argument(
        "--config-file", type=Path, metavar="FILE", help=f"the configuration ({asked})"
    )
    verb.add_argument(
        "--kubelet-dir",
        type=_parse_absolute_path,
        metavar="DIR",
        help="the kubelet's --root-dir; likewise",
    )
    verb.add_argument(
        "--device-plugins-dir",
        type=_parse_absolute_path,
        metavar="DIR",
        help="the folder of kubelet.sock; likewise",
    )
    verb.add_argument("--host-root", type=Path, metavar="DIR", help="where the host lies; likewise")


def _add_probe(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("question", choices=("alive", "ready"))


def _add_events(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "-n",
        type=_parse_count,
        default=30,
        metavar="N",
        help="the newest N (default: 30)",
        dest="most",
    )
    verb.add_argument("--pool", default="", metavar="POOL", help="of this pool, and of all pools")
    verb.add_argument("--device", default="", metavar="DEVICE", help="of this device")
    verb.add_argument(
        "--since",
        type=parse_since,
        default=0.0,
        metavar="WHEN",
        help="90s, 10m, 2h, 3d, or a time as 2026-11-25T08:30 (UTC)",
    )
    verb.add_argument("--follow", action="store_true", help="go on with what happens, until Ctrl-C")


def _add_explain(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "device",
        metavar="DEVICE",
        help="its PCI address (0000:3b:00.0, 3b:00.0), auxiliary name, interface, RDMA device, "
        "node (/dev/rbln0), or IOMMU group",
    )


def _add_reload(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--force", action="store_true", help="also where it takes devices that pods have"
    )


def _add_validate(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("file", metavar="FILE", help="a configuration, JSON or YAML")
    verb.add_argument(
        "--resource-prefix",
        metavar="PREFIX",
        help=f"of pools that name none (default: {PREFIX}; the supervisor's with --against-host)",
    )
    verb.add_argument(
        "--against-host",
        action="store_true",
        help="ask the supervisor what a reload of the file would do; nothing is done",
    )


def _add_bundle(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a file that is not there yet (default: rbln-support-<host>-<time>.tar.gz here)",
    )
    _add_doctor(verb)


def _add_completion(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("shell", choices=("bash", "zsh", "fish"))


def _parse_absolute_path(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise argparse.ArgumentTypeError(f"expected a path from the root, got {text!r}")
    return path


def _parse_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return int(text)


def _parse_seconds(text: str) -> float:
    number = float(text)
    if not 0.1 <= number <= 3600:
        raise argparse.ArgumentTypeError(f"expected 0.1 to 3600 seconds, got {text}")
    return number


_ARGUMENTS: Final = {
    "status": _add_status,
    "doctor": _add_doctor,
    "events": _add_events,
    "probe": _add_probe,
    "explain": _add_explain,
    "reload": _add_reload,
    "validate": _add_validate,
    "support-bundle": _add_bundle,
    "completion": _add_completion,
}
