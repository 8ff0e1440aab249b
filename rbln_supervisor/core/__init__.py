"""The supervisor's decisions, as pure functions and values: no clock, no file, no socket.

``configuration`` parses the file, ``assign`` and ``selecting`` match devices, ``roster`` is the
desired state of a pool, ``lifecycle`` the state table of a worker, ``looks`` the queue of
discoveries, ``status`` and ``measures`` are what clients get, ``diagnosis`` the checks of doctor.
"""
