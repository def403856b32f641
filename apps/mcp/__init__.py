"""A bridge to the Model Context Protocol: servers' tools as tools of llmos, and tools of llmos as a server."""
