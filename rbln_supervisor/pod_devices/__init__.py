"""The devices that pods hold, from the best source that the node has.

A process of its own (``process.py``) watches the kubelet's Pods API, or polls pod-resources where
there is none, reads the kubelet's checkpoint for the paths that were given, and writes each new
state into a pipe. ``watch.py`` keeps that process and hands its newest state to the supervisor's
loop. ``core/pod_devices.py`` merges.
"""
