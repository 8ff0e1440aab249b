"""The supervisor's decisions, as pure functions and values: no clock, no file, no socket.

``config`` parses the file, ``device_types`` and ``matching`` assign devices to pools, ``discovery``
merges and queues discoveries, ``workers`` has the desired state of each pool and the step of a pool
and its worker, ``reporting`` and ``status`` are what clients get, ``doctor`` has the checks.
"""
