"""Measurements of llmos: each figure is a ratio against a peer or a limit that was measured in the same run."""
