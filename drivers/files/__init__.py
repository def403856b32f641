"""Files in the file system of the host: a home per owner."""
