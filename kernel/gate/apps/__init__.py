"""Apps: what is installed, what runs, and what waits to run."""
