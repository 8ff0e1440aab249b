"""The command rbln-supervisor, and python -m rbln_supervisor."""

import sys

# asyncio and hashlib import these modules where they exist: OpenSSL's libraries in every process,
# and 9 ms of the start. Nothing here speaks TLS, and Python has its own SHA-256. An import of one
# of them raises ImportError (None: docs.python.org, The import system).
for name in ("ssl", "_hashlib"):
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]

from rbln_supervisor.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
