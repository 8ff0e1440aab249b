"""What people, Prometheus and systemd are shown of pools."""
