"""PCI functions, network interfaces and auxiliary devices, read from sysfs and netlink."""
