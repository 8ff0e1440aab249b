"""The command: scripts/bench [--size SIZE,…] [--only FIGURE,…] [--json FILE] [--compare FILE]."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from tests.bench import against, links, own
from tests.bench.compare import NotComparable, load
from tests.bench.made import made
from tests.bench.scene import SIZES
from tests.bench.table import show, show_both
from tests.bench.values import FORMAT, FULL, QUICK, Figure, Report

_INSIDE: Final = "RBLN_BENCH_INSIDE"
_WIDE: Final = 240
"""Columns of output that is no terminal's: nothing wraps."""
_GROUPS: Final = (*own.GROUPS, links.GROUP)


def main(argv: Sequence[str]) -> int:
    """Measure and print; 2 where that can't be done as it is asked for, 1 where a plugin fails."""
    given = _parser().parse_args(argv)
    try:
        then = load(given.compare) if given.compare else None
        command = against.command(given.against, given.only) if given.against else None
    except (NotComparable, against.NotPossible) as error:
        return _complain(error, 2)
    namespace = os.environ.get(_INSIDE) == "1"
    if not namespace:
        _go_inside(argv)
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    if command is not None:
        return _against(command, given, console)
    report = Report(FORMAT, made(quick=given.quick), tuple(_own(given, namespace=namespace)))
    show(report, then, console, markdown=given.markdown)
    _write(report, given.json)
    return 0


def _own(given: argparse.Namespace, *, namespace: bool) -> Iterator[Figure]:
    rounds = QUICK if given.quick else FULL
    for size in given.size if {*given.only} & {*own.GROUPS} else ():
        yield from own.measured(SIZES[size], rounds, given.only, namespace=namespace)
    if links.GROUP in given.only:
        yield from links.measured(rounds, namespace=namespace)


def _against(command: against.Command, given: argparse.Namespace, console: Console) -> int:
    rounds, sizes = QUICK if given.quick else FULL, [SIZES[name] for name in given.size]
    figures: list[Figure] = []
    code = 0
    try:
        for each in against.measured(command, sizes, rounds, given.only, given.patience):
            figures += each  # those of smaller sizes are kept on a failure
            show_both(_report(command, each, given), console, markdown=given.markdown)
    except against.NotPossible as error:
        return _complain(error, 2)
    except against.Failed as error:
        code = _complain(error, 1)
    if figures:
        report = _report(command, figures, given)
        if len({one.size for one in figures}) > 1:
            show_both(report, console, markdown=given.markdown)
        _write(report, given.json)
    return code


def _report(
    command: against.Command, figures: Sequence[Figure], given: argparse.Namespace
) -> Report:
    return Report(FORMAT, made(quick=given.quick, against=command.name), tuple(figures))


def _write(report: Report, path: Path | None) -> None:
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def _complain(error: Exception, code: int) -> int:
    print(f"bench: {error}", file=sys.stderr)
    return code


def _go_inside(argv: Sequence[str]) -> None:
    """Begin again in a network namespace of our own; comes back where that can't be."""
    # Uevents and links are made there. Real root stays real: --against needs it.
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    command = ["unshare", *user, "--net"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        inside = [*command, sys.executable, "-m", "tests.bench", *argv]
        os.execvpe("unshare", inside, {**os.environ, _INSIDE: "1"})  # noqa: S606


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures the real processes on simulated nodes; nothing is asserted.",
    )
    option = parser.add_argument
    option(
        "--size",
        type=_some(tuple(SIZES)),
        default=tuple(SIZES),
        metavar="SIZE,…",
        help="; ".join(map(str, SIZES.values())),
    )
    option(
        "--only",
        type=_some(_GROUPS),
        default=_GROUPS,
        metavar="FIGURE,…",
        help=f"of {', '.join(_GROUPS)}",
    )
    option("--quick", action="store_true", help="fewer rounds: whether it runs, not how fast")
    option("--json", type=_new_file, metavar="FILE", help="the figures as JSON, too")
    option("--markdown", action="store_true", help="the table as a page of documentation has it")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--compare", type=Path, metavar="FILE", help="an earlier run's JSON, for the ratios to it"
    )
    other.add_argument(
        "--against",
        metavar="COMMAND",
        help="another device plugin on the same nodes, in namespaces of its own (needs root); "
        "{config} in it stands for the configuration's path",
    )
    option(
        "--patience",
        type=float,
        default=against.PATIENCE_S,
        metavar="SECONDS",
        help="how long a plugin may take until all is listed, with --against (%(default)g)",
    )
    return parser


def _new_file(text: str) -> Path:
    path = Path(text)
    if not path.parent.is_dir():  # to be told now, and not when all is measured
        raise argparse.ArgumentTypeError(f"{path.parent}: no such folder")
    return path


def _some(there: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def names(text: str) -> tuple[str, ...]:
        chosen = tuple(name.strip() for name in text.split(","))
        for name in chosen:
            if name not in there:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(there)}")
        return chosen

    return names


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
