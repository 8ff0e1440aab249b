"""rbln-ctl: queries a running supervisor over its control socket, and checks files without one.

Each command is a module, ``<name>_command``: its arguments, its request, its output, its exit code.
``main`` has the list of them, and runs one. Shared: ``client`` (the socket), ``output`` and
``rendering`` (text, JSON, tables), ``text`` (times and words), ``completers``, ``command``.
Requests and replies are in ``core.control``; no decision about the node belongs here.
"""
