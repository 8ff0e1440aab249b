"""Discovery of the node: kernel events, the schedule, and the process that scans."""
