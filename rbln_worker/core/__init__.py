"""The worker's decisions, as pure functions and values: no clock, no file, no socket.

``health`` evaluates devices, ``providers`` and ``answer`` define what a container gets, ``prefer``
chooses devices, ``registration`` decides how to register, ``cdi`` and ``devinfo`` make files.
"""
