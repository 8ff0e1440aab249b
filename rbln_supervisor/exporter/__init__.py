"""rbln-exporter: metrics for Prometheus, and the probes of a container, over HTTP.

A separate process that queries the supervisor over its control socket with a deadline, as rbln-ctl
does. So it can report a supervisor that is dead or hangs, and cannot slow it down. Belongs here:
names and kinds of metrics (``catalog``), their values from a reply (``families``), processes by
/proc, the HTTP server. Does not: counters.
"""
