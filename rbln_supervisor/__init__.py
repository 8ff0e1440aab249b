"""The supervisor: keeps one worker for each resource pool, and assigns devices to pools.

A tour in the order of the data:

- ``kernel``, ``config_watch``, ``lookout``: events, and when the next discovery runs;
- ``scout``, ``node``: one discovery, in a forked process;
- ``core.assign``, ``core.roster``: matching, and the desired state of each pool;
- ``pools``, ``keeper``, ``children``: all workers, one worker, fork and reap;
- ``router``: messages to workers and to ``rbln-ctl``;
- ``overview``, ``journal``, ``announcer``: status and metrics, the event log, systemd;
- ``supervisor``: the loop.

ARCHITECTURE.md follows one event through these files.
"""
