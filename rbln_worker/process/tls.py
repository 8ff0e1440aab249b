"""TLS for a process that was forked by a program that blocks the module ssl."""

import asyncio.base_events
import asyncio.selector_events
import asyncio.sslproto
import importlib
import sys


def enable_tls() -> None:
    """Import ssl, also into asyncio, which was imported without it (rbln_supervisor/__main__.py).

    Only workers that talk to the API server need it, and its libraries.
    """
    if sys.modules.get("ssl") is not None:
        return
    sys.modules.pop("ssl", None)
    module = importlib.import_module("ssl")
    for user in (asyncio.base_events, asyncio.selector_events):
        vars(user)["ssl"] = module
    importlib.reload(asyncio.sslproto)
