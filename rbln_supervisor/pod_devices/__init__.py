"""The devices that pods hold, from the best source that the node has.

A separate process (``process.py``) watches the kubelet's Pods API, or polls pod-resources if there
is none, reads the allocated paths from the kubelet's checkpoint, and writes each new state into a
pipe. ``watch.py`` keeps that process running and passes its newest state to the supervisor's loop.
``core/pod_devices.py`` merges the sources.
"""
