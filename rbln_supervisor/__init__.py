"""The supervisor: keeps one worker for each resource pool, and assigns devices to pools.

A tour in the order of the data:

- ``config``, ``discovery``: the file, kernel events, and discoveries in forked processes;
- ``core.matching``, ``core.workers``: matching, and the desired state of each pool;
- ``workers``: all workers, one worker, fork and reap, and messages to workers and ``rbln-ctl``;
- ``reporting``, ``events``: status and metrics, systemd, and the event log;
- ``supervisor``: the loop.

ARCHITECTURE.md follows one event through these files.
"""
