"""Starting the kernel: settings, the home directory, and the daemon that puts all parts together."""
