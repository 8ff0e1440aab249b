"""Whether a device can be used: evidence in, a verdict out, time passed in.

From the facts to the kubelet's word: observation.py (what one source says), word.py (what the
supervisor says), npu.py and pcie.py (what the device's own files say), evidence.py (all that a look
found), standing.py (where a device stands), machine.py (how it comes there over time, as a table),
case.py (a device's file: the last evidence and where it stands).
"""
