"""The worker's decisions, as pure functions and values: no clock, no file, no socket.

``health`` judges devices, ``providers`` and ``answer`` define what a container gets, ``prefer``
chooses devices, ``registration`` decides about the kubelet, ``cdi`` and ``devinfo`` make files.
"""
