"""Client of the Kubernetes API server, for DRA workers and rbln-agent; nothing else has a token."""
