"""Decisions of ``rbln-ctl doctor``: problems of a status, and of a node matched with pools.

Belongs here: pure functions from facts to problems. Does not: reading (``rbln_supervisor.doctor``).
"""
