"""The container's first program: it checks arguments and configuration, then becomes supervisord.

supervisord would start rbln-supervisor again and again, whatever its arguments are. Invalid
arguments, or a configuration without a usable pool, are easier to see as a container that has
ended: with the error as its last line, and an exit code. Later the priority is the other way:
workers serve, and the file may be corrected (conf/supervisord.conf).
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from rbln_supervisor import run_dir
from rbln_supervisor.cli import parse_arguments
from rbln_supervisor.config import accepted
from rbln_supervisor.config.config_file import in_file
from rbln_supervisor.core.config import node_config
from rbln_supervisor.options import Options
from rbln_worker.contract.exits import Exit

_PROGRAM: Final = "/etc/rbln/supervisord.conf"


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code (contract/exits.py) if nothing can be started; else never return."""
    arguments = sys.argv[1:] if argv is None else argv
    environment = os.environ
    options = parse_arguments(
        ["--run-dir", environment.get("RBLN_RUN_DIR") or str(Options().run_dir), *arguments],
        in_container=True,
    )
    try:
        accepted.start_config(options)
        run_dir.prepare_run_dir(options.run_dir)
        run_dir.require_room(options.run_dir)
    except node_config.ConfigError as error:
        return _print_refusal(*in_file(options.config_file, error.errors))
    except run_dir.RunDirError as error:
        return _print_refusal(str(error))
    program = environment.get("RBLN_SUPERVISORD_CONF") or _PROGRAM
    return os.execve(  # noqa: S606 - no shell is needed: arguments are passed unchanged
        sys.executable,
        [sys.executable, "-P", "-m", "rbln_supervisor.supervisord", "-c", program],
        environment_of(options, arguments, environment),
    )


def environment_of(
    options: Options, arguments: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment for conf/supervisord.conf, with the arguments quoted for shlex.

    supervisord splits them with shlex. Exporter and agent use the supervisor's log format. The
    agent is off unless RBLN_EVENTS is true. supervisord requires a folder for temporary files,
    which it never creates: with a read-only root only the run directory is available.
    """
    return {
        "TMPDIR": str(options.run_dir),
        "RBLN_LOG_FORMAT": options.log_format,
        "RBLN_EVENTS": "false",
        **environment,
        "RBLN_RUN_DIR": str(options.run_dir),
        "RBLN_ARGUMENTS": shlex.join(arguments),
    }


def _print_refusal(*complaints: str) -> int:
    for complaint in complaints:
        print(f"rbln-supervisor: {complaint}", file=sys.stderr)  # noqa: T201
    return Exit.UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
