"""What the kernel does for each call, a module for each group of calls, and the table that finds it."""
