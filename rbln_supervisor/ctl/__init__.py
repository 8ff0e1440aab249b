"""rbln-ctl: queries a running supervisor over its control socket, and checks files without one.

Belongs here: the command line, the client's end of the socket, and output. Does not: requests and
replies (``core.commands``), and any decision about the node.
"""
