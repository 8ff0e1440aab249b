"""Collects facts about a node without its supervisor, for ``rbln-ctl doctor``.

Reads of sysfs, sockets and mounts can hang, and rbln-ctl must not. So this is a separate process
(``python -m rbln_supervisor.doctor``), which writes a line for each section as soon as it has it.
Belongs here: reading. Does not: conclusions (``core.diagnosis``).
"""
