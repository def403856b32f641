"""Identity: whose key is whose, and the daemon's own keys."""
