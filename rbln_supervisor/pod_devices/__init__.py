"""The devices that pods hold, from the best source that the node has.

A process of its own (``process.py``) watches the kubelet's Pods API, or polls pod-resources where
there is none, reads the allocated paths from the kubelet's checkpoint, and writes each new state
into a pipe. ``watch.py`` keeps that process running and passes its newest state to the
supervisor's loop. ``core/pod_devices.py`` merges.
"""
