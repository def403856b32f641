"""Outside work behind the ports of the kernel; no driver knows another."""
