"""DRA decisions: devices become ResourceSlices, claims become CDI specs, records of claims.

names.py translates device IDs. Everything here is pure; rbln_worker/dra has the shells.
"""
