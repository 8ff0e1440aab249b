"""rbln-exporter: metrics for Prometheus, and the probes of a container, over HTTP.

A process of its own that asks the supervisor over its control socket, as rbln-ctl does, with a
deadline: it tells of a supervisor that is dead or hangs, and can't hinder one that is not.

Belongs here: names and forms of metrics (``catalog``), what of an answer becomes which
(``families``), what /proc says of the processes, the HTTP server. Does not: anything that counts.
"""
