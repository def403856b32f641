"""The wire: envelopes, their MessagePack bytes, key files, and where the daemon is. No sockets, no kernel."""
