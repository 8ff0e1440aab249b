"""Worker of one resource pool: serves the pool to the kubelet, in a process of its own.

A tour in the order of the data:

- ``contract``: values and messages that supervisor and workers share;
- ``link``, ``conversation``: the socket to the supervisor, and the session protocol on it;
- ``looks``, ``prober``, ``examiner``: schedule, threads and reads of health checks;
- ``judge``, ``core.health``: evidence becomes health;
- ``conclusion``, ``core.providers``, ``files``: verdicts, answers and files of the pool;
- ``registrar``, ``core.registration``: registration with the kubelet;
- ``kubelet``: gRPC, with ``plugin`` for the calls and ``board`` for the list;
- ``worker``: the loop.

ARCHITECTURE.md follows one event through these files.
"""
