"""The command rbln-supervisor, and python -m rbln_supervisor."""

import sys

# asyncio imports it where it is there: OpenSSL's libraries in every process, and 9 ms of the start.
# Nothing here speaks TLS; whatever came to want it would get an ImportError.
sys.modules.setdefault("ssl", None)  # type: ignore[arg-type] # import system: None forbids it

from rbln_supervisor.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
