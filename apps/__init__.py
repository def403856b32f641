"""User space: programs over the SDK."""
