"""The container's first program: it tries what it was given, then becomes supervisord.

supervisord would start rbln-supervisor again and again, whatever it was given. A command line that
nobody understands, or a configuration without a usable pool, is better seen as a container that
ended: with the complaint as its last line, and an exit code. Once it runs it is the other way
round: workers serve, and the file may be mended (conf/supervisord.conf).
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from rbln_supervisor import accepted, run_dir
from rbln_supervisor.arguments import parse
from rbln_supervisor.core.configuration import config
from rbln_supervisor.options import Options
from rbln_worker.contract.exits import Exit

_PROGRAM: Final = "/etc/rbln/supervisord.conf"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code where nothing is started (contract/exits.py); else this never returns."""
    arguments = sys.argv[1:] if argv is None else argv
    environment = os.environ
    options = parse(
        ["--run-dir", environment.get("RBLN_RUN_DIR") or str(Options().run_dir), *arguments],
        in_container=True,
    )
    try:
        accepted.start_config(options)
        run_dir.prepare(options.run_dir)
        run_dir.require_room(options.run_dir)
    except config.ConfigError as error:
        return _refuse(*error.errors)
    except run_dir.NotUsable as error:
        return _refuse(str(error))
    program = environment.get("RBLN_SUPERVISORD_CONF") or _PROGRAM
    return os.execve(  # noqa: S606 - no shell is wanted: words are handed over as they are
        sys.executable,
        [sys.executable, "-P", "-m", "rbln_supervisor.supervisord", "-c", program],
        environment_of(options, arguments, environment),
    )


def environment_of(
    options: Options, arguments: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str]:
    """What conf/supervisord.conf reads: the words, quoted as supervisord takes them apart (shlex).

    The exporter beside the supervisor writes its lines as that does.

    supervisord wants a folder for temporary files that it never makes: with a root that is
    read-only there is none but ours.
    """
    return {
        "TMPDIR": str(options.run_dir),
        "RBLN_LOG_FORMAT": options.log_format,
        **environment,
        "RBLN_RUN_DIR": str(options.run_dir),
        "RBLN_ARGUMENTS": shlex.join(arguments),
    }


def _refuse(*complaints: str) -> int:
    for complaint in complaints:
        print(f"rbln-supervisor: {complaint}", file=sys.stderr)  # noqa: T201
    return Exit.UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
