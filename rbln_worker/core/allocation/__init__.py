"""What Allocate gives for a device, decided from facts of the host."""
