"""Health of a device: from evidence and time to a verdict.

In the order of the data: observation.py (kinds of evidence), carrier.py (links and ports), npu.py,
pcie.py and driver.py (evidence from the device's files), evidence.py (a whole health check),
health_record.py (the health record of a device), state_machine.py (the state table),
device_health.py (a device with its newest evidence, also of the supervisor, and its record).
"""
