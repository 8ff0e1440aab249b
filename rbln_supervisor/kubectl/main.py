"""The command line of ``kubectl rbln``."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from rich.console import RenderableType

from rbln_supervisor.core.matching.explain import Explanation
from rbln_supervisor.core.status import NodeStatus
from rbln_supervisor.ctl import output
from rbln_supervisor.ctl.command import Exit
from rbln_supervisor.ctl.doctor_command import DoctorReport
from rbln_supervisor.ctl.events_command import EventsReport
from rbln_supervisor.ctl.output import print_errors, write_json, write_text
from rbln_supervisor.ctl.rendering import render_text
from rbln_supervisor.kubectl import tables
from rbln_supervisor.kubectl.nodes import Kubectl, KubectlError, NodeResult
from rbln_worker.contract.version import VERSION

USAGE_EXIT: Final = 2
"""argparse's exit code on wrong usage, here and in rbln-ctl."""
TIMEOUT_S: Final = 15.0

_TABLES: Final[
    Mapping[str, tuple[type[Any], Callable[[Mapping[str, Any], int], RenderableType]]]
] = {
    "status": (NodeStatus, tables.status_table),
    "top": (NodeStatus, tables.top_table),
    "doctor": (DoctorReport, tables.problem_table),
    "events": (EventsReport, tables.event_table),
    "explain": (Explanation, tables.explanation_table),
}

T = TypeVar("T")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; arguments that it does not know are rbln-ctl's."""
    parser = argparse.ArgumentParser(
        prog="kubectl rbln",
        description="Shows Rebellions NPUs and SR-IOV functions of all nodes of a cluster, by "
        "rbln-ctl in the pods of the device plugin.",
        epilog="Further arguments go to rbln-ctl on each node: kubectl rbln events --since 1h",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--node", action="append", default=[], help="a node; may be repeated")
    common.add_argument("-l", "--selector", default="", help="label selector of nodes")
    common.add_argument("-n", "--namespace", default="", help="the plugin's (default: any)")
    common.add_argument("--kubeconfig", default="", help="as for kubectl")
    common.add_argument("--context", default="", help="as for kubectl")
    common.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help="longest wait for a node (default: %(default)g)",
    )
    common.add_argument("--json", action="store_true", help="print JSON, by node")

    def add_command(verb: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            verb, help=text, description=text, parents=[common], allow_abbrev=False
        )

    status = add_command("status", "resource pools of each node")
    status.add_argument("--devices", action="store_true", help="devices, and the pods they are in")
    status.add_argument("--unhealthy", action="store_true", help="Unhealthy devices alone")
    add_command("top", "devices that are healthy, in pods and free, the fullest node first")
    add_command("doctor", "what is wrong, on which nodes, and what to do about it")
    add_command("events", "what happened on all nodes, by time")
    explain = add_command("explain", "the pool and the health of a device on each node that has it")
    explain.add_argument("device", help="any name that rbln-ctl explain accepts")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    output.prepare_streams()
    try:
        parser = build_parser()
        options, arguments = parser.parse_known_args(argv)
        if {"-f", "--follow"} & {*arguments}:
            parser.error("--follow is for one node: kubectl exec POD -- rbln-ctl events --follow")
        return _run_command(options, arguments)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except KubectlError as error:
        _print_problems(str(error))
        return Exit.UNREACHABLE
    finally:
        output.flush_streams()


def _run_command(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    chosen = [
        f"--{name}={value}"
        for name in ("kubeconfig", "context")
        if (value := getattr(options, name))
    ]
    kubectl = Kubectl(chosen, options.namespace, options.timeout)
    pods = kubectl.find_pods(options.node, options.selector)
    if not pods:
        raise KubectlError(
            "no pod of the device plugin (label app.kubernetes.io/name=rbln-device-plugin); a "
            "plugin on the host is asked there, with rbln-ctl"
        )
    verb = "status" if options.verb == "top" else options.verb
    device = [options.device] if options.verb == "explain" else []
    results = kubectl.ask_nodes(pods, (verb, *device, *arguments))
    if options.json:
        write_json({"nodes": {one.node: one for one in results}})
    else:
        if any(one.result is not None for one in results):
            write_text(_render_results(options, results))
        _print_problems(*(f"{one.node}: {one.problem}" for one in results if one.problem))
    return exit_code(results, any_knows=options.verb == "explain")


def exit_code(results: Sequence[NodeResult], *, any_knows: bool) -> int:
    """Return the exit code for all nodes.

    2: wrong usage; 3: a node was not reached; 1: rbln-ctl said so on a node (with ``any_knows``:
    on all of them, because a device is on few nodes); otherwise 0.
    """
    codes = {one.exit_code for one in results}
    for code in (USAGE_EXIT, Exit.UNREACHABLE):
        if code in codes:
            return code
    return Exit.DONE if codes == {0} or (any_knows and 0 in codes) else Exit.REFUSED


def _render_results(options: argparse.Namespace, results: Sequence[NodeResult]) -> str:
    kind, table = _TABLES[options.verb]
    if options.verb == "status" and (options.devices or options.unhealthy):
        now = datetime.now(UTC).timestamp()
        table = partial(tables.device_table, now=now, unhealthy=options.unhealthy)
    values: Mapping[str, Any] = decode_results(results, kind)
    return render_text(lambda columns: table(values, columns), sys.stdout)


def decode_results(results: Sequence[NodeResult], kind: type[T]) -> Mapping[str, T]:
    """Return the results as values, by node; one of another form is left out."""
    values = {}
    for one in results:
        if one.result is not None:
            try:
                values[one.node] = msgspec.json.decode(one.result, type=kind)
            except msgspec.MsgspecError:
                _print_problems(f"{one.node}: rbln-ctl there answers in another form")
    return values


def _print_problems(*lines: str) -> None:
    print_errors(*lines, prefix="kubectl rbln")


if __name__ == "__main__":
    sys.exit(main())
