"""The command rbln-supervisor, and python -m rbln_supervisor."""

import sys

# asyncio and hashlib import these where they are there: OpenSSL's libraries in every process, and
# 9 ms of the start. Nothing here speaks TLS, and Python has SHA-256 of its own; whatever came to
# want more would get an ImportError (None: docs.python.org, The import system).
for name in ("ssl", "_hashlib"):
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]

from rbln_supervisor.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
