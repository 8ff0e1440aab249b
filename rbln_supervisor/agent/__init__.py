"""rbln-agent: transitions of this node's devices and pools as Kubernetes Events.

A client, as rbln-exporter: it reads the files of events in the run directory, asks the supervisor
by its control socket which pods hold a device, and is the only process beside DRA workers that
calls the API server. Its end disturbs nothing.
"""
