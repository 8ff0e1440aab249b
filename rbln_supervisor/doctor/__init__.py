"""Examines a node without its supervisor, for ``rbln-ctl doctor``.

Reads of sysfs, sockets and mounts can hang, and rbln-ctl must not. So this is a separate process
(``python -m rbln_supervisor.doctor``), which writes the problems of each section as soon as it has
them, and which rbln-ctl kills at a deadline.
"""
