"""One resource pool, served to the kubelet by one process."""
