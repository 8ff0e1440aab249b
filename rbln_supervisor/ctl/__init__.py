"""rbln-ctl: asks a running supervisor over its control socket, and checks files without one.

Belongs here: the command line, the client's end of the socket, and how answers look. Does not:
what may be asked and what an answer holds (``core.commands``), and any decision about the node.
"""
