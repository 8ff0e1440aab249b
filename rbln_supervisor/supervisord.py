"""supervisord, with its own lines in the same form as all others in the container's log.

It has one form for them, with the local time and without an offset, and no setting for it.
"""

import logging
import os
import sys
from typing import Final

from supervisor import loggers, supervisord

from rbln_worker.process import log

_FORMAT_VARIABLE: Final = "RBLN_LOG_FORMAT"


class _Handler(loggers.StreamHandler):  # type: ignore[misc] # supervisor has no types
    """A handler that passes each line, already formatted, to supervisord's own handler."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(sys.stdout)
        self.setFormat("%(message)s\n")
        self._formatter = formatter

    def emit(self, record: loggers.LogRecord) -> None:
        message = record.asdict()["message"]
        level = max(record.level, logging.DEBUG)  # logging's numbers, except for two below
        line = logging.LogRecord("supervisord", level, "", 0, message, None, None)
        super().emit(loggers.LogRecord(record.level, self._formatter.format(line)))


def main() -> None:
    """Run supervisord with the arguments of this command line."""
    form: log.Format = "json" if os.environ.get(_FORMAT_VARIABLE) == "json" else "text"
    formatter = log.log_formatter("supervisord", form)

    def handle_stdout(logger: loggers.Logger, _: str) -> None:
        handler = _Handler(formatter)
        handler.setLevel(logger.level)
        logger.addHandler(handler)

    loggers.handle_stdout = handle_stdout
    supervisord.main()


if __name__ == "__main__":
    main()
