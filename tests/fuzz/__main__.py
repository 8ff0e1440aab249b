"""The command of scripts/fuzz: each target for a while, in a process of its own, and a table."""

import argparse
import re
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Final, NamedTuple

from tests.fuzz.seeds import FOUND, REPOSITORY, seeds
from tests.fuzz.targets import TARGETS

GROWN: Final = REPOSITORY / ".fuzz"
"""By target: what reached something new, so that the next run begins there. Not in git."""
BYTES_MOST: Final = 4096
SLOW_S: Final = 5
"""An input that takes longer is a finding."""
_GRACE_S: Final = 60.0
_LINES: Final = 25

_RUNS: Final = re.compile(r"^stat::number_of_executed_units:\s+([0-9]+)", re.MULTILINE)
_REACHED: Final = re.compile(r"\bcov: ([0-9]+) ft: ([0-9]+)")
_KEPT: Final = re.compile(r"Test unit written to (\S+)")


class Told(NamedTuple):
    """What came of a target."""

    runs: int
    edges: int
    features: int
    finding: Path | None
    """The input that broke something."""
    why: str
    """The end of what was said of it; also where the process ended without an input."""


def main() -> int:
    """Exit code 0, 1 where something was found."""
    given = _parser().parse_args()
    if given.list:
        print("\n".join(f"{name:16}{target.__doc__}" for name, target in TARGETS.items()))
        return 0
    if given.replay:
        return _replay(given.replay)
    print(f"{'target':16}{'runs':>10}{'seconds':>9}{'edges':>7}{'features':>10}  findings")
    found = 0
    for name in given.only or TARGETS:
        told = _fuzz(name, given.seconds, given.bytes_most)
        row = f"{name:16}{told.runs:10}{given.seconds:9}{told.edges:7}{told.features:10}"
        finding = str(told.finding.relative_to(REPOSITORY)) if told.finding else told.why and "?"
        print(f"{row}  {finding or '-'}", flush=True)
        if told.why:
            found += 1
            print(told.why)
        if told.finding:
            print(f"again: scripts/fuzz --replay {finding}", flush=True)
    print(f"{found} findings")
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, metavar="N", help="each (%(default)s)")
    parser.add_argument("--only", type=_names, metavar="TARGET,…", help="these, not all")
    parser.add_argument(
        "--bytes-most",
        type=int,
        default=BYTES_MOST,
        metavar="N",
        help="the longest input (%(default)s)",
    )
    parser.add_argument("--list", action="store_true", help="the targets, and what is promised")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="one input of found/TARGET/, with a traceback"
    )
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - TARGETS.keys()):
        raise argparse.ArgumentTypeError(f"no target: {', '.join(unknown)}; see --list")
    return names


def _replay(path: Path) -> int:
    target = TARGETS.get(path.parent.name)
    if target is None:
        print(f"scripts/fuzz: {path}: expected found/TARGET/FILE", file=sys.stderr)
        return 2
    try:
        target(path.read_bytes())
    except BaseException:  # noqa: BLE001 - whatever it is, it is what is asked for
        traceback.print_exc()
        return 1
    print(f"{path.parent.name}: holds")
    return 0


def _fuzz(name: str, seconds: int, bytes_most: int) -> Told:
    begun, grown, kept = GROWN / "seeds" / name, GROWN / "grown" / name, FOUND / name
    shutil.rmtree(begun, ignore_errors=True)
    for folder in (begun, grown, kept):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (begun / f"{number}").write_bytes(seed)
    arguments = [
        *(f"-max_total_time={seconds}", f"-timeout={SLOW_S}", f"-max_len={bytes_most}"),
        *(f"-artifact_prefix={kept}/", "-print_final_stats=1", "-rss_limit_mb=2048"),
        *("-reload=0", "-len_control=20", f"{grown}", f"{begun}"),
    ]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.one", name, *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            timeout=seconds + _GRACE_S,
            check=False,
        )
        said, code = (done.stdout + done.stderr).decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as error:
        said, code = f"{(error.stderr or b'').decode(errors='replace')}\nit does not end", 1
    with_input = _KEPT.findall(said)
    if not any(kept.iterdir()):
        kept.rmdir()
    return Told(
        runs=int((_RUNS.findall(said) or ["0"])[-1]),
        edges=max((int(edges) for edges, _ in _REACHED.findall(said)), default=0),
        features=max((int(features) for _, features in _REACHED.findall(said)), default=0),
        finding=Path(with_input[-1]) if with_input else None,
        why="\n".join(_why(said)) if code else "",
    )


def _why(said: str) -> list[str]:
    lines = [line for line in said.splitlines() if not line.startswith("INFO: ")]
    begins = next(
        (n for n, line in enumerate(lines) if "Uncaught" in line or "ALARM" in line), None
    )
    return lines[begins : begins + _LINES] if begins is not None else lines[-_LINES:]


if __name__ == "__main__":
    sys.exit(main())
