"""Worker of one resource pool: serves the pool to the kubelet, in a process of its own.

A tour in the order of the data:

- ``contract``: values and messages that supervisor and workers share;
- ``channel``: the socket to the supervisor, and the session protocol on it;
- ``core.step``: all decisions, from events to effects; ``worker`` is the loop around it;
- ``health``: threads and reads of health checks; ``core.health``: from evidence to a verdict;
- ``core.allocation``, ``host_files``: answers and files of the pool;
- ``registrar``, ``core.registration``: registration with the kubelet;
- ``kubelet``: gRPC, with ``plugin`` for the calls and ``board`` for the list.

ARCHITECTURE.md follows one event through these files.
"""
