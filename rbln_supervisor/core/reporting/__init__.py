"""Reports about pools for people, Prometheus and systemd."""
