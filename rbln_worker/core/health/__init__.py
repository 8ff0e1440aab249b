"""Health of a device: evidence and time in, a verdict out.

From facts to the verdict: observation.py (kinds of evidence), word.py (evidence from the
supervisor), carrier.py (links and ports), npu.py, pcie.py and driver.py (evidence from the device's
files), evidence.py (all of a health check), standing.py (the record of a device), machine.py (the
state table), case.py (a device with its newest evidence and its record).
"""
