"""One resource pool, served to the kubelet by one process.

A tour in the order of the data:

- ``contract``: what supervisor and workers agree on;
- ``link``, ``conversation``: the socket to the supervisor, and the session on it;
- ``looks``, ``prober``, ``examiner``: when devices are checked, by which thread, what is read;
- ``judge``, ``core.health``: evidence becomes health;
- ``conclusion``, ``core.providers``, ``files``: verdicts, answers and files of the pool;
- ``registrar``, ``core.registration``: how the kubelet learns of the pool;
- ``kubelet``: gRPC, with ``plugin`` for the calls and ``board`` for the list;
- ``worker``: the loop.

ARCHITECTURE.md follows one event through these files.
"""
