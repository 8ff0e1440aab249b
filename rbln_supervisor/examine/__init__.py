"""Gathers what can be seen of a node without asking its supervisor, for ``rbln-ctl doctor``.

It reads what can hang (sysfs, sockets, mounts), and whoever starts it may not: so it is a process
of its own (``python -m rbln_supervisor.examine``), which writes a line for each section as it has
it. Belongs here: reading. Does not: what it means (``core.diagnosis``).
"""
